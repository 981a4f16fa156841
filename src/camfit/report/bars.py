"""Bars in HTML: their text keeps its size at any width of the page."""

from __future__ import annotations

from camfit.report import units
from camfit.report.markup import Markup, element, join, scroll_table, section
from camfit.report.record import Record

SERIES = 6  # colours in the style sheet: s1 .. s6
# What readers call the coders of :data:`camfit.pack.CODERS`.
CODER_NAMES = {
    "bits": "fixed-width codes",
    "huffman": "Huffman (paper)",
    "fast": "fast (static codes)",
    "range": "range coder",
}


def bar(share: float, kind: str) -> Markup:
    """A bar over this share (0 to 1) of its box; a share above zero stays visible."""
    width = f"width:{100 * min(1.0, max(0.0, share)):.2f}%"
    return element("span", {"class": f"bar {kind}{' some' if share > 0 else ''}", "style": width})


def bytes_section(record: Record) -> Markup | None:
    """Where the bytes of the file went: one stacked bar and its table."""
    parts = sorted((record.bytes or {}).items(), key=lambda item: -item[1])
    total = sum(value for _, value in parts)
    if total <= 0:
        return None
    kinds = [f"s{index % SERIES + 1}" for index in range(len(parts))]
    pieces = [
        element(
            "span",
            {
                "class": kind,
                "style": f"width:{100 * value / total:.3f}%",
                "title": f"{name}: {units.exact_size(value)}",
            },
        )
        for kind, (name, value) in zip(kinds, parts, strict=True)
        if value > 0
    ]
    shares = "; ".join(f"{name} {units.percent(value / total, 1)}" for name, value in parts)
    stack = element("div", {"class": "stack", "role": "img", "aria-label": f"Share of the bytes: {shares}"}, pieces)
    rows = [
        (
            join(element("span", {"class": f"swatch {kind}", "aria-hidden": "true"}), name),
            f"{units.count(value)}",
            units.percent(value / total, 1),
        )
        for kind, (name, value) in zip(kinds, parts, strict=True)
    ]
    table = scroll_table("Bytes by content", ("Content", "Bytes", "Share"), rows, ("Sum", units.count(total), ""))
    note = None
    if record.after.bytes is not None and round(record.after.bytes) != round(total):
        whole = f"The whole file has {units.count(record.after.bytes)} bytes."
        note = element("p", {"class": "note"}, whole)
    return section("bytes", "Where the bytes went", stack, table, note)


def coders_section(record: Record) -> Markup | None:
    """The size of the whole file with each entropy coder."""
    coders = {name: value for name, value in (record.coders or {}).items() if value > 0}
    if not coders:
        return None
    largest = max(coders, key=lambda name: coders[name])
    references = ((coders[largest], CODER_NAMES.get(largest, largest)), (record.float32_bytes, "the float32 weights"))
    rows = []
    for name, value in coders.items():
        used = record.after.bytes is not None and round(record.after.bytes) == round(value)
        chip = element("span", {"class": "chip good"}, "in this file") if used else None
        ratios = [(units.change(reference, value, "smaller", "larger"), what) for reference, what in references]
        facts = "; ".join(f"{ratio} than {what}" for ratio, what in ratios if ratio not in ("", "unchanged"))
        title = join(element("strong", None, CODER_NAMES.get(name, name)), f" {units.exact_size(value)} ", chip)
        shown = bar(value / coders[largest], "after" if used else "before")
        rows.append(
            element(
                "li",
                None,
                element("p", {"class": "limit-name"}, title),
                element("div", {"class": "meter", "aria-hidden": "true"}, shown),
                element("p", {"class": "margin"}, facts),
            )
        )
    note = element(
        "p", {"class": "note"}, "The same network with each way of coding its indices; the whole file counted."
    )
    return section("coders", "Coders", note, element("ul", {"class": "limits"}, rows))
