"""The parts of a plot: scales, ticks, grid lines and labels as inline SVG. Colours and fonts are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camfit.report.markup import Markup, element, join

CHARACTER = 6.4  # mean width of a character of plot text, in plot units; text is never measured, only estimated


@dataclass(frozen=True)
class Scale:
    """Maps values low..high onto positions start..end, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values inside the range, about ``most`` of them at most."""
        if not self.log:
            step = nice_step((self.high - self.low) / max(1, most))
            first = math.ceil(self.low / step - 1e-9)
            return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            values = [step * 10.0**decade for decade in decades for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) <= most:
                break
        return inside


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= least * (1 - 1e-9))


def padded(values: Sequence[float], share: float, least: float) -> tuple[float, float]:
    """The range of the values, widened by a share on both sides and at least ``least`` wide."""
    low, high = min(values), max(values)
    room = max((high - low) * share, (least - (high - low)) / 2)
    return low - room, high + room


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of a class."""
    return element("line", {"class": kind, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def text(x: float, y: float, content: str, anchor: str = "middle", kind: str | None = None) -> Markup:
    """Plot text; ``anchor`` is start, middle or end."""
    return element("text", {"class": kind, "x": x, "y": y, "text-anchor": anchor}, content)


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through points."""
    return element("polyline", {"class": kind, "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points)})


def mark(x: float, y: float, shape: str, kind: str, title: str) -> Markup:
    """A data point - "circle", "square" or "diamond" - with a title that shows on hover."""
    hover = element("title", None, title)
    if shape == "circle":
        return element("circle", {"class": kind, "cx": x, "cy": y, "r": 4.5}, hover)
    if shape == "square":
        return element("rect", {"class": kind, "x": x - 4.5, "y": y - 4.5, "width": 9, "height": 9}, hover)
    corners = ((x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y))
    return element("polygon", {"class": kind, "points": " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}, hover)


def shortened(content: str, width: float) -> str:
    """The text, cut to about ``width`` plot units; empty when fewer than six characters would be left."""
    room = int(width / CHARACTER)
    if len(content) <= room:
        return content
    return content[: room - 1].rstrip() + "…" if room >= 7 else ""


def percent_label(step: float, value: float) -> str:
    """An axis label for a fraction, as precise as the ticks are close."""
    decimals = 0 if step >= 0.00999 else 1 if step >= 0.000999 else 2
    return f"{100 * value:.{decimals}f}".replace("-0", "0" if abs(value) < 1e-9 else "-0")


def percent_grid(y: Scale, left: float, right: float, most: int = 6) -> Markup:
    """Horizontal grid lines with percentages at the left."""
    ticks = y.ticks(most)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else y.high - y.low
    return join(
        join(line(left, y(tick), right, y(tick), "grid"), text(left - 7, y(tick) + 4, percent_label(step, tick), "end"))
        for tick in ticks
    )


def canvas(width: float, height: float, label: str, kind: str, *children: Markup) -> Markup:
    """A drawing that scales with its box; ``label`` is what a screen reader says in its place."""
    attributes = {
        "class": f"plot {kind}".strip(),
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": label,
    }
    return element("svg", attributes, *children)
