"""Each layer before and after: how it is stored; its bytes, multiply-accumulates and milliseconds as paired bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from camfit.report import units
from camfit.report.bars import bar
from camfit.report.markup import Markup, element, join, key, scroll_table, section
from camfit.report.record import Layer, LayerSide, Record


@dataclass(frozen=True)
class _Measure:
    title: str
    stored: bool  # a property of stored weights: a layer without any counts as zero in the sum
    of: Callable[[LayerSide], float | None]
    show: Callable[[float | None], str]


def _bare_milliseconds(value: float | None) -> str:
    return units.NONE if value is None else units.significant(value)


_MEASURES = (
    _Measure("Parameters", True, lambda side: side.weights, units.count),
    _Measure("Bytes", True, lambda side: side.bytes, units.size),
    _Measure("MACs", False, lambda side: side.macs, units.short_count),
    _Measure("Milliseconds", False, lambda side: side.ms, _bare_milliseconds),
)


def _value(measure: _Measure, side: LayerSide | None) -> float | None:
    return None if side is None else measure.of(side)


def _pair(measure: _Measure, before: float | None, after: float | None) -> Markup:
    if before is None and after is None:
        return element("div", {"class": "pair"}, units.NONE)
    ratio = units.times(before / after) if before and after and f"{before / after:.2f}" != "1.00" else None
    figures = f"{measure.show(before)} → {measure.show(after)}"
    return element("div", {"class": "pair"}, figures, element("span", {"class": "ratio"}, ratio) if ratio else None)


def _cell(measure: _Measure, layer: Layer, widest: float) -> Markup:
    before, after = _value(measure, layer.before), _value(measure, layer.after)
    pair = _pair(measure, before, after)
    if widest <= 0 or (before is None and after is None):
        return pair
    bars = join(bar((before or 0.0) / widest, "before"), bar((after or 0.0) / widest, "after"))
    return join(pair, element("div", {"class": "bars", "aria-hidden": "true"}, bars))


def _form(side: LayerSide | None) -> str:
    if side is None or not side.form:
        return units.NONE
    return side.form if side.entries is None else f"{side.form}, {side.entries} entries"


def _name(layer: Layer) -> Markup:
    chip = None
    if layer.before is None and layer.after is not None:
        chip = element("span", {"class": "chip plain"}, "added")
    elif layer.after is None and layer.before is not None:
        chip = element("span", {"class": "chip plain"}, "removed")
    op = element("span", {"class": "note"}, layer.op) if layer.op else None
    return join(element("span", {"class": "layer-name"}, layer.name), op, chip)


def _forms(layer: Layer) -> str:
    before, after = _form(layer.before), _form(layer.after)
    if layer.before is None or layer.after is None:
        return after if layer.before is None else before
    return before if before == after else f"{before} → {after}"


def _total(measure: _Measure, layers: Sequence[Layer], side: Callable[[Layer], LayerSide | None]) -> float | None:
    sides = [found for layer in layers for found in [side(layer)] if found is not None]
    needed = [found for found in sides if found.form or not measure.stored]
    known = [value for found in needed for value in [measure.of(found)] if value is not None]
    return sum(known) if known and len(known) == len(needed) else None


def layers_section(record: Record) -> Markup | None:
    """The table of layers with a line of sums; a sum is left out when one of its layers was not measured."""
    layers = record.layers
    if not layers:
        return None
    values = {
        measure.title: [_value(measure, side) for layer in layers for side in (layer.before, layer.after)]
        for measure in _MEASURES
    }
    measures = [measure for measure in _MEASURES if any(value is not None for value in values[measure.title])]
    widest = {measure.title: max((value or 0.0) for value in values[measure.title]) for measure in measures}
    widest["Parameters"] = 0.0  # as text only: its bars would repeat those of the bytes
    rows = [
        (_name(layer), _forms(layer), *(_cell(measure, layer, widest[measure.title]) for measure in measures))
        for layer in layers
    ]
    sums = [
        _pair(
            measure,
            _total(measure, layers, lambda layer: layer.before),
            _total(measure, layers, lambda layer: layer.after),
        )
        for measure in measures
    ]
    head = ("Layer", "Stored as", *(measure.title for measure in measures))
    note = "Bars are in proportion to the largest layer of the column; × is before divided by after."
    legend = key(("before", "before"), ("after", "after"), note=note)
    table = scroll_table("Layers before and after", head, rows, ("Sum", "", *sums), "layers")
    return section("layers", "Layer by layer", legend, table)
