"""The top of the page: title, verdict, before → after tiles, all figures before and after, budget against delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from camfit.report import units
from camfit.report.bars import bar
from camfit.report.markup import Markup, element, estimate_mark, join, scroll_table, section
from camfit.report.record import Limit, Record


def _margin(limit: Limit) -> str:
    """What is left of a limit, or by how much it was broken, with its share of the limit."""
    if limit.delivered is None:
        return "not measured"
    gap = abs(limit.budget - limit.delivered)
    amount = units.size(gap) if limit.unit == "bytes" else units.amount(gap, limit.unit)
    if limit.unit not in ("bytes", "ms") and 0 < gap < 0.0005:
        amount = f"less than 0.001{units.NBSP}{limit.unit}"  # a small excess must not read as none
    share = ""
    if limit.budget > 0 and limit.delivered >= 0:
        share = f" ({units.significant(100 * gap / limit.budget)}{units.NBSP}%)"
    return f"{amount}{share} {'over' if limit.delivered > limit.budget else 'to spare'}"


def _allowed(limit: Limit) -> str:
    if limit.unit == "bytes":
        return f"{units.size(limit.delivered)} of {units.size(limit.budget)} allowed"
    if limit.delivered is not None and limit.delivered < 0:
        gain = units.amount(-limit.delivered, limit.unit)
        return f"a gain of {gain}, a drop of {units.amount(limit.budget, limit.unit)} allowed"
    return f"{units.amount(limit.delivered, '')} of {units.amount(limit.budget, limit.unit)} allowed"


def verdict_banner(record: Record) -> Markup | None:
    """Whether the budget was met and, where not, which limit failed by how much."""
    if not record.verdict:
        return None
    failed = record.missed
    title, sign, kind = ("Budget not met", "✕", "bad") if failed else ("Budget met", "✓", "good")
    lines = [
        join(
            element("strong", None, limit.limit),
            f": {_allowed(limit)}{f', {_margin(limit)}' if failed else ''}",
            estimate_mark(limit.basis),
        )
        for limit in failed or record.verdict
    ]
    return element(
        "div",
        {"class": f"verdict {kind}"},
        element("span", {"class": "sign", "aria-hidden": "true"}, sign),
        element("div", None, element("p", {"class": "headline"}, title), (element("p", None, line) for line in lines)),
    )


def header(record: Record, title: str) -> Markup:
    """Title, one line about the run, verdict."""
    about = [f"camfit {record.kind}"]
    if record.model.parameters is not None:
        about.append(f"{units.count(record.model.parameters)} parameters")
    if record.data.test is not None:
        about.append(f"{units.count(record.data.test)} test images")
    if record.seconds is not None:
        about.append(f"took {units.seconds(record.seconds)}")
    line = element("p", {"class": "about"}, (element("span", None, part) for part in about))
    return element("header", None, element("h1", None, title), line, verdict_banner(record))


# -- before and after ------------------------------------------------------------------------------------------


def _tile(name: str, figure: str, before: str, change: str, kind: str, note: str, bars: Markup | None) -> Markup:
    return element(
        "li",
        {"class": "tile"},
        element("p", {"class": "name"}, name),
        element("p", {"class": "figure"}, figure),
        element("p", {"class": "was"}, f"before {before}"),
        element("p", None, element("span", {"class": f"chip {kind}"}, change)) if change else None,
        bars,
        element("p", {"class": "note"}, note) if note else None,
    )


def _direction(before: float | None, after: float | None) -> str:
    if before is None or after is None or units.change(before, after, "", "") == "unchanged":
        return "plain"
    return "good" if after < before else "bad"


def _cost_tile(
    name: str,
    before: float | None,
    after: float | None,
    show: Callable[[float | None], str],
    less: str,
    more: str,
    note: str,
) -> Markup | None:
    if after is None:
        return None
    bars = None
    if before is not None and max(before, after) > 0:
        widest = max(before, after)
        bars = join(bar(before / widest, "before"), bar(after / widest, "after"))
        bars = element("div", {"class": "bars", "aria-hidden": "true"}, bars)
    change = units.change(before, after, less, more)
    return _tile(name, show(after), show(before), change, _direction(before, after), note, bars)


def _accuracy_tile(record: Record) -> Markup | None:
    before, after = record.before.accuracy, record.after.accuracy
    if after is None:
        return None
    change = "" if before is None else units.points(before, after)
    kind = "plain"
    if before is not None and after > before:
        kind = "good"
    elif any(limit.limit == "max-drop" for limit in record.missed):
        kind = "bad"
    images = "" if record.data.test is None else f"the engine on {units.count(record.data.test)} test images"
    return _tile(f"Test {record.metric}", units.percent(after), units.percent(before), change, kind, images, None)


def tiles(record: Record) -> Markup:
    """Accuracy, bytes on disk, milliseconds an image and peak memory, before and after."""
    before, after = record.before, record.after
    speed = [] if after.threads is None else [f"median, {after.threads} thread{'s' if after.threads != 1 else ''}"]
    if after.ms_p95 is not None:
        speed.append(f"95th percentile {units.milliseconds(after.ms_p95)}")
    exact = "" if after.bytes is None or after.bytes < 1000 else f"{units.count(after.bytes)} bytes, the whole file"
    found = (
        _accuracy_tile(record),
        _cost_tile("On disk", before.bytes, after.bytes, units.size, "smaller", "larger", exact),
        _cost_tile(
            "Time an image", before.ms_median, after.ms_median, units.milliseconds, "faster", "slower", "; ".join(speed)
        ),
        _cost_tile(
            "Peak memory",
            before.peak_bytes,
            after.peak_bytes,
            units.size,
            "less",
            "more",
            "of the engine, loading included",
        ),
    )
    return element("ul", {"class": "tiles", "aria-label": "Before and after"}, found_ones(found))


def found_ones(parts: tuple[Markup | None, ...]) -> list[Markup]:
    """The parts that exist."""
    return [part for part in parts if part is not None]


@dataclass(frozen=True)
class _Line:
    name: str
    before: float | None
    after: float | None
    show: Callable[[float | None], str]
    less: str
    more: str


def comparison(record: Record) -> Markup | None:
    """Every measured figure in full, before and after; None when there is nothing to compare."""
    before, after = record.before, record.after
    lines = (
        _Line("File", before.bytes, after.bytes, units.exact_size, "smaller", "larger"),
        _Line("Time an image, median", before.ms_median, after.ms_median, units.milliseconds, "faster", "slower"),
        _Line("Time an image, 95th percentile", before.ms_p95, after.ms_p95, units.milliseconds, "faster", "slower"),
        _Line("Peak memory", before.peak_bytes, after.peak_bytes, units.exact_size, "less", "more"),
        _Line("Multiply-accumulates an image", before.macs, after.macs, units.count, "fewer", "more"),
        _Line("Parameters", before.params, after.params, units.count, "fewer", "more"),
    )
    rows = []
    if record.after.accuracy is not None:
        change = units.points(before.accuracy, after.accuracy)
        rows.append((f"Test {record.metric}", units.percent(before.accuracy), units.percent(after.accuracy), change))
    if record.validation is not None:
        old, new = record.validation.before, record.validation.after
        change = units.points(old, new)
        rows.append((f"Validation {record.metric}", units.percent(old), units.percent(new), change))
    for line in lines:
        if line.before is not None or line.after is not None:
            change = units.change(line.before, line.after, line.less, line.more)
            rows.append((line.name, line.show(line.before), line.show(line.after), change or units.NONE))
    if record.float32_bytes is not None and after.bytes is not None:
        change = units.change(record.float32_bytes, after.bytes, "smaller", "larger")
        weights = units.exact_size(record.float32_bytes)
        rows.append(("File against the float32 weights alone", weights, units.exact_size(after.bytes), change))
    if not rows:
        return None
    table = scroll_table("Figures before and after", ("", "Before", "After", "Change"), rows)
    note = "Both columns are the engine's own figures: a packed file, run over the same images."
    return section("figures", "Before and after", element("p", {"class": "note"}, note), table)


# -- budget ----------------------------------------------------------------------------------------------------


def _limit_row(limit: Limit) -> Markup:
    delivered = limit.delivered
    widest = 1.15 * max(limit.budget, delivered or 0.0) or 1.0
    meter = element(
        "div",
        {"class": "meter", "aria-hidden": "true"},
        bar(max(0.0, delivered or 0.0) / widest, "good" if limit.met else "bad"),
        element("span", {"class": "limit", "style": f"left:{100 * limit.budget / widest:.2f}%"}),
    )
    chip = element("span", {"class": f"chip {'good' if limit.met else 'bad'}"}, "✓ met" if limit.met else "✕ not met")
    mark = estimate_mark(limit.basis)
    room = None if delivered is None else _margin(limit)
    basis = None if limit.basis is None else limit.basis if mark else f"measured on {limit.basis}"
    got = "not measured" if delivered is None else units.amount(delivered, limit.unit)
    allowed = units.amount(limit.budget, limit.unit)
    figures = join(element("strong", None, got), f" of {allowed} allowed")
    if delivered is not None and delivered < 0:
        gain = units.amount(-delivered, limit.unit)
        figures = join(element("strong", None, f"a gain of {gain}"), f", a drop of {allowed} allowed")
    return element(
        "li",
        None,
        element("p", {"class": "limit-name"}, element("strong", None, limit.limit), " ", chip, mark),
        element("p", None, figures),
        meter,
        element("p", {"class": "margin"}, "; ".join(part for part in (room, basis) if part)),
    )


def budget(record: Record) -> Markup | None:
    """Each limit, what was delivered, and the room between the two."""
    if not record.verdict:
        return None
    rows = element("ul", {"class": "limits"}, (_limit_row(limit) for limit in record.verdict))
    note = element("p", {"class": "note"}, "The upright mark on each bar is the limit.")
    return section("budget", "Budget against delivered", rows, note)
