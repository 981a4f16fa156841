"""The page of measured claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from camfit.bench.claims.claim import Claim, Figures
from camfit.bench.page import table


def section(claim: Claim, measured: Sequence[Figures], seeds: int) -> Iterator[str]:
    """Markdown lines of one claim: verdict, then each figure's mean, sample deviation (from two seeds on) and n."""
    yield f"## {claim.row}: {claim.verdict(measured, seeds)}"
    yield ""
    yield claim.statement
    yield ""
    yield f"{len(measured)} of {seeds} seeds measured."
    if not measured:
        return
    yield ""
    rows = []
    for name in measured[0]:
        values = [figures[name] for figures in measured]
        spread = f"{stdev(values):.4g}" if len(values) > 1 else ""
        rows.append((name, f"{mean(values):.6g}", spread, str(len(values))))
    yield from table(("figure", "mean", "deviation", "n"), rows, left=1)
