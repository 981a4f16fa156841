"""Figures as text: bytes, milliseconds, percentages, signed points, ratios. A missing figure is an en dash."""

from __future__ import annotations

NONE = "–"
NBSP = "\u00a0"  # no-break space between a figure and its unit
MINUS = "−"


def significant(value: float) -> str:
    """Three significant digits, never in exponent form: 0.210, 29.1, 1,725."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded figure, so that 9.996 becomes 10.0
    decimals = min(9, max(0, 2 - exponent))
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def _scaled(value: float, units: tuple[str, ...]) -> str:
    size, index = float(value), 0
    while index + 1 < len(units) and abs(size) >= 999.5:
        size, index = size / 1000, index + 1
    text = f"{round(size):,}".replace("-", MINUS) if index == 0 else significant(size)
    return f"{text}{NBSP}{units[index]}".rstrip(NBSP)


def size(value: float | None) -> str:
    """Bytes with a decimal prefix: 29.1 kB."""
    return NONE if value is None else _scaled(value, ("bytes", "kB", "MB", "GB"))


def exact_size(value: float | None) -> str:
    """Bytes with a decimal prefix and in full: 29.1 kB (29,120 bytes)."""
    if value is None or abs(value) < 1000:
        return size(value)
    return f"{size(value)} ({round(value):,}{NBSP}bytes)"


def count(value: float | None) -> str:
    """A whole number in full: 431,080."""
    return NONE if value is None else f"{round(value):,}"


def short_count(value: float | None) -> str:
    """A large number with a prefix: 2.29 M."""
    return NONE if value is None else _scaled(value, ("", "k", "M", "G"))


def milliseconds(value: float | None) -> str:
    """Milliseconds with three significant digits: 0.210 ms."""
    return NONE if value is None else f"{significant(value)}{NBSP}ms"


def seconds(value: float | None) -> str:
    """A duration: 1.20 s, 8 min 32 s, 2 h 05 min."""
    if value is None:
        return NONE
    if value < 59.95:
        return f"{significant(value)}{NBSP}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{NBSP}min {whole % 60}{NBSP}s"
    return f"{whole // 3600}{NBSP}h {whole % 3600 // 60:02d}{NBSP}min"


def percent(fraction: float | None, decimals: int = 2) -> str:
    """A fraction of 1 as a percentage: 91.55 %."""
    return NONE if fraction is None else f"{100 * fraction:.{decimals}f}{NBSP}%".replace("-", MINUS)


def points(before: float | None, after: float | None) -> str:
    """The change from one fraction to another in signed points: −0.12 points."""
    if before is None or after is None:
        return NONE
    change = round(100 * (after - before), 2)
    sign = "±" if change == 0 else "+" if change > 0 else MINUS
    return f"{sign}{abs(change):.2f}{NBSP}points"


def times(ratio: float) -> str:
    """A ratio: 1.24×, 59.2×, 120×."""
    return f"{significant(ratio)}×"


def change(before: float | None, after: float | None, less: str, more: str) -> str:
    """How many times less or more: 59.2× smaller; empty when that cannot be said."""
    if not before or not after or before < 0 or after < 0:
        return ""
    if f"{before / after:.2f}" == "1.00":
        return "unchanged"
    return f"{times(before / after)} {less}" if before > after else f"{times(after / before)} {more}"


def amount(value: float | None, unit: str) -> str:
    """A figure in the unit of a limit: bytes, ms or points."""
    if value is None:
        return NONE
    if unit == "bytes":
        return exact_size(value)
    if unit == "ms":
        return milliseconds(value)
    text = f"{value:.3f}"
    text = (text[:-1] if text.endswith("0") else text).replace("-", MINUS)
    return f"{text}{NBSP}{unit}" if unit else text
