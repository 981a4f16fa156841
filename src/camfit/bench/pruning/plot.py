"""One drawing a network: each method's accuracy before and after fine-tuning, a panel for each level."""

from __future__ import annotations

from collections.abc import Sequence

from camfit.bench.pruning.cells import DENSE, RANDOM
from camfit.bench.pruning.measure import Row
from camfit.report import axes
from camfit.report.axes import Scale
from camfit.report.markup import Markup, element, join

_LABELS, _PANEL, _GAP, _LINE, _HEAD, _FOOT = 250.0, 200.0, 28.0, 22.0, 44.0, 34.0
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 }
.grid { stroke: #d8dee4 } .dense { stroke: #24292f; stroke-dasharray: 5 3 }
.chance { stroke: #bf5700; stroke-dasharray: 1.5 3; stroke-width: 1.5 }
.gain { stroke: #9fb8d6; stroke-width: 2 } .before { fill: #fff; stroke: #6e7781; stroke-width: 1.5 }
.after { fill: #1f5fa8 } .none { fill: #6e7781; font-style: italic }
"""
_REMOVED = {"structured": "multiply-accumulates removed", "unstructured": "weights that are zero"}


def drawing(network: str, rows: Sequence[Row]) -> str:
    """A whole SVG file: structured methods above, unstructured below. ``rows`` are those of the network."""
    dense = next(row for row in rows if row.name == DENSE)
    scores = [score for row in rows if not row.refused for score in (row.before, row.after)]
    low = max(0.0, min(scores) - 0.02)
    parts: list[Markup] = []
    top = 0.0
    for kind in _REMOVED:
        of_kind = [row for row in rows if row.kind == kind]
        levels = sorted({row.level for row in of_kind})
        names = list(dict.fromkeys(row.name for row in of_kind))
        parts.append(axes.text(_LABELS - 10, top + 24, _REMOVED[kind], "end", "title"))
        for place, name in enumerate(names):
            row = next(row for row in of_kind if row.name == name)
            label = f"{name} ({row.row})" if row.row else name
            parts.append(axes.text(_LABELS - 10, _y(top, place) + 4, label, "end"))
        for number, level in enumerate(levels):
            left = _LABELS + number * (_PANEL + _GAP)
            x = Scale(low, 1.0, left, left + _PANEL)
            found = {row.name: row for row in of_kind if row.level == level}
            parts.append(_panel(x, top, names, found, dense, f"{100 * level:.0f} %"))
        top += _HEAD + _LINE * len(names) + _FOOT
    width = _LABELS + 3 * (_PANEL + _GAP)
    label = f"Test accuracy of {network} before and after fine-tuning, by method"
    return element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:g} {top + 20:g}", "width": width,
         "height": top + 20, "role": "img", "aria-label": label},
        element("style", None, Markup(_STYLE)),
        element("rect", {"width": width, "height": top + 20, "fill": "#fff"}),
        *parts,
        axes.text(
            _LABELS, top + 8, "test accuracy, %   ○ before   ● after fine-tuning   - - dense   ··· random after",
            "start",
        ),
    )  # fmt: skip


def _panel(x: Scale, top: float, names: Sequence[str], rows: dict[str, Row], dense: Row, title: str) -> Markup:
    bottom = top + _HEAD + _LINE * len(names)
    parts = [axes.text(x.start, top + 24, title, "start", "title")]
    for tick in x.ticks(5):
        parts += [
            axes.line(x(tick), top + _HEAD - 8, x(tick), bottom, "grid"),
            axes.text(x(tick), bottom + 15, f"{100 * tick:.0f}"),
        ]
    parts.append(axes.line(x(dense.after), top + _HEAD - 8, x(dense.after), bottom, "dense"))
    chance = rows.get(RANDOM)
    if chance is not None and not chance.refused:
        parts.append(axes.line(x(chance.after), top + _HEAD - 8, x(chance.after), bottom, "chance"))
    for place, name in enumerate(names):
        row, y = rows.get(name), _y(top, place)
        if row is None or row.refused:
            parts.append(axes.text(x.start + 6, y + 4, "refused" if row else "not measured", "start", "none"))
            continue
        said = f"{name}: {100 * row.before:.2f} -> {100 * row.after:.2f} %"
        parts += [
            axes.line(x(row.before), y, x(row.after), y, "gain"),
            axes.mark(x(row.before), y, "circle", "before", said),
            axes.mark(x(row.after), y, "circle", "after", said),
        ]
    return join(parts)


def _y(top: float, place: int) -> float:
    return top + _HEAD + _LINE * (place + 0.3)
