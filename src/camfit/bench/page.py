"""Small things that all pages share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 2) -> Iterator[str]:
    """A Markdown table, the first ``left`` columns to the left."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] * left + ['--:'] * (len(head) - left))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def milliseconds(value: float) -> str:
    """Three significant digits, at most four decimals."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4}f}"


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f} %"
