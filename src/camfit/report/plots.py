"""The plots of a run: accuracy at each step, trials, sensitivity and training curves.

Each large plot is drawn once for a wide and once for a narrow page; the style sheet shows one of them, so that
text keeps its size on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camfit.report import axes, units
from camfit.report.axes import Scale
from camfit.report.markup import Attributes, Markup, element, join
from camfit.report.record import Step, Trial


@dataclass(frozen=True)
class Frame:
    """The size of a plot and of the margins around its data."""

    kind: str
    width: float
    height: float
    left: float = 44
    right: float = 14
    top: float = 34
    bottom: float = 44

    @property
    def inner(self) -> float:
        """Width of the data area."""
        return self.width - self.left - self.right


FRAMES = (Frame("wide", 530, 290), Frame("narrow", 340, 250))
BROAD = Frame("broad", 1100, 300)  # for a plot that has the whole width of a wide page


# -- accuracy at each step -------------------------------------------------------------------------------------


def _step_label(number: int, step: Step) -> str:
    return f"{number}. {step.name}: {units.percent(step.validation)}"


def _one_accuracy(steps: Sequence[Step], metric: str, frame: Frame) -> Markup:
    room = frame.inner / (len(steps) + 0.25)
    at = [frame.left + (index + 0.75) * room for index in range(len(steps))]
    curve: list[tuple[float, float]] = []
    epochs: list[tuple[float, float, str]] = []
    for index, (step, x) in enumerate(zip(steps, at, strict=True)):
        history = step.history.get("validation", ())
        for epoch, value in enumerate(history):
            if value is not None:
                between = x - 0.75 * room * (1 - (epoch + 1) / (len(history) + 1))
                curve.append((between, value))
                epochs.append((between, value, f"{index + 1}. {step.name}, epoch {epoch + 1}: {units.percent(value)}"))
        if step.validation is not None:
            curve.append((x, step.validation))
    low, high = axes.padded([value for _, value in curve], 0.14, 0.01)
    y = Scale(low, high, frame.height - frame.bottom, frame.top)
    shown = [(index, step.validation) for index, step in enumerate(steps) if step.validation is not None]
    ends = {shown[0][0], shown[-1][0], min(shown, key=lambda item: item[1])[0]}
    parts = [axes.percent_grid(y, frame.left, frame.width - frame.right)]
    parts.append(axes.text(2, 13, axes.shortened(f"validation {metric}, %", frame.width), "start"))
    parts.append(axes.path([(x, y(value)) for x, value in curve], "curve"))
    parts += [
        element("circle", {"class": "epoch", "cx": x, "cy": y(value), "r": 2.2}, element("title", None, title))
        for x, value, title in epochs
    ]
    for index, value in shown:
        step, x = steps[index], at[index]
        shape, kind = ("square", "rewrite") if step.kind == "rewrite" else ("circle", "train")
        parts.append(axes.mark(x, y(value), shape, kind, _step_label(index + 1, step)))
        if room >= 54 or index in ends:
            place = curve.index((x, value))
            around = [neighbour for _, neighbour in curve[max(0, place - 1) : place + 2]]
            below = value == min(around) and len(set(around)) > 1
            parts.append(axes.text(x, y(value) + (19 if below else -10), f"{100 * value:.2f}", "middle", "strong halo"))
    names = [axes.shortened(step.name, room - 4) for step in steps]
    for index, x in enumerate(at):
        parts.append(axes.text(x, frame.height - frame.bottom + 18, str(index + 1), "middle", "strong"))
        if all(names):
            parts.append(axes.text(x, frame.height - frame.bottom + 34, names[index]))
    if not all(names):
        parts.append(axes.text(frame.left + frame.inner / 2, frame.height - 9, "step (see the list of steps)"))
    label = f"Validation {metric} after each step. " + "; ".join(
        _step_label(index + 1, steps[index]) for index, _ in shown
    )
    return axes.canvas(frame.width, frame.height, label, frame.kind, *parts)


def accuracy_plot(steps: Sequence[Step], metric: str, alone: bool) -> Markup:
    """Validation metric after each step and each epoch of training. At least one step has a figure."""
    frames = (BROAD, *FRAMES) if alone else FRAMES
    return join(_one_accuracy(steps, metric, frame) for frame in frames)


# -- trials ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """The cost that a trials plot shows along x: its name, its unit, and the limit on it if there is one."""

    name: str
    limit_name: str
    limit: float | None
    is_size: bool

    def of(self, trial: Trial) -> float | None:
        """The trial's cost; None when it was not measured or cannot be drawn."""
        value = trial.bytes if self.is_size else trial.ms
        return value if value is not None and value > 0 else None

    def show(self, value: float) -> str:
        """A figure of this cost."""
        return units.size(value) if self.is_size else units.milliseconds(value)

    def tick(self, value: float) -> str:
        """A figure of this cost, as short as an axis label should be."""
        if not self.is_size:
            return f"{value:g}"
        return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} kB" if value >= 1e3 else f"{value:g}"


def _budget_line(x: Scale, cost: Cost, frame: Frame) -> list[Markup]:
    if cost.limit is None:
        return []
    at, bottom, right = x(cost.limit), frame.height - frame.bottom, frame.width - frame.right
    over: Attributes = {"class": "over", "x": at, "y": frame.top, "width": right - at, "height": bottom - frame.top}
    label = f"{cost.limit_name} {cost.show(cost.limit)}"
    left_side = at - len(label) * axes.CHARACTER > frame.left
    anchor, shift = ("end", -5) if left_side else ("start", 5)
    return [
        element("rect", over),
        axes.line(at, frame.top, at, bottom, "budget"),
        axes.text(at + shift, frame.top + 13, label, anchor, "budget-label halo"),
    ]


def _chosen_label(label: str, at: tuple[float, float], others: list[tuple[float, float]], frame: Frame) -> Markup:
    """The label above, below, right or left of its point: where there is room and few other points are hidden."""
    width, (x, y) = len(label) * axes.CHARACTER * 1.08, at
    right, bottom = frame.width - frame.right, frame.height - frame.bottom
    places = ((x - width / 2, y - 15), (x - width / 2, y + 25), (x + 14, y + 4), (x - 14 - width, y + 4))

    def cost(place: tuple[float, float]) -> float:
        left, base = place
        outside = max(0.0, frame.left - left) + max(0.0, left + width - right)
        outside += max(0.0, base - bottom + 4) + max(0.0, frame.top + 10 - base)
        hidden = sum(left - 8 < a < left + width + 8 and base - 18 < b < base + 8 for a, b in others)
        return outside + 20 * hidden

    left, base = min(places, key=cost)
    left = min(max(left, frame.left), right - width)
    return axes.text(left, base, label, "start", "strong halo")


def _one_trials(trials: Sequence[Trial], cost: Cost, floor: float | None, metric: str, frame: Frame) -> Markup:
    points = [(cost.of(trial), trial.validation, trial) for trial in trials]
    drawn = [(size, value, trial) for size, value, trial in points if size is not None and value is not None]
    costs = [size for size, _, _ in drawn] + ([cost.limit] if cost.limit else [])
    log = max(costs) > 8 * min(costs)
    low, high = (min(costs) / 1.3, max(costs) * 1.3) if log else axes.padded(costs, 0.1, 0.2 * max(costs))
    x = Scale(low if log else max(0.0, low), high, frame.left, frame.width - frame.right, log)
    values = [value for _, value, _ in drawn] + ([] if floor is None else [floor])
    y = Scale(*axes.padded(values, 0.14, 0.01), frame.height - frame.bottom, frame.top)
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    parts = [axes.percent_grid(y, frame.left, right), *_budget_line(x, cost, frame)]
    parts.append(axes.text(2, 13, axes.shortened(f"validation {metric}, %", frame.width), "start"))
    if floor is not None:
        parts.append(axes.line(frame.left, y(floor), right, y(floor), "budget"))
        parts.append(
            axes.text(right - 4, y(floor) + 15, f"max-drop: at least {100 * floor:.2f}", "end", "budget-label halo")
        )
    parts.append(axes.line(frame.left, bottom, right, bottom, "axis"))
    for tick in x.ticks(6 if frame.kind == "wide" else 4):
        parts += [
            axes.line(x(tick), bottom, x(tick), bottom + 4, "axis"),
            axes.text(x(tick), bottom + 18, cost.tick(tick)),
        ]
    scale = " (logarithmic scale)" if log else ""
    parts.append(axes.text(frame.left + frame.inner / 2, frame.height - 7, f"{cost.name}{scale}"))
    for size, value, trial in sorted(drawn, key=lambda item: item[2].chosen):
        kind = "trial" if trial.met is None else "met" if trial.met else "unmet"
        verdict = "" if trial.met is None else ", within the budget" if trial.met else ", outside the budget"
        estimate = " (estimate)" if trial.basis and "estimate" in trial.basis.lower() else ""
        title = f"{trial.name}: {cost.show(size)}{estimate}, {units.percent(value)}{verdict}"
        if trial.chosen:
            parts.append(element("circle", {"class": "ring", "cx": x(size), "cy": y(value), "r": 9}))
            others = [(x(c), y(v)) for c, v, other in drawn if other is not trial]
            parts.append(_chosen_label("chosen", (x(size), y(value)), others, frame))
        shape = "diamond" if trial.met is False else "circle"
        parts.append(axes.mark(x(size), y(value), shape, kind, title))
    label = f"Validation {metric} against {cost.name} of {len(drawn)} trials; the figures are in the table of trials"
    return axes.canvas(frame.width, frame.height, label, frame.kind, *parts)


def trials_plot(trials: Sequence[Trial], cost: Cost, floor: float | None, metric: str) -> Markup:
    """Validation metric against a cost. ``floor`` is the lowest metric allowed. At least one trial has both figures."""
    return join(_one_trials(trials, cost, floor, metric, frame) for frame in FRAMES)


# -- small curves ----------------------------------------------------------------------------------------------


def small_sensitivity(
    points: Sequence[tuple[float, float]], fewest: float, span: tuple[float, float], label: str
) -> Markup:
    """One layer's curve: the metric against the share of weights kept, from all to ``fewest``; all share ``span``."""
    width, height, left, right, top, bottom = 190.0, 112.0, 34.0, 8.0, 8.0, 20.0
    ordered = sorted(points, reverse=True)
    x = Scale(fewest, 1.0, width - right, left, log=True)
    y = Scale(*span, height - bottom, top)
    dots = [
        element("circle", {"class": "dot", "cx": x(kept), "cy": y(value), "r": 2.6}, element("title", None, title))
        for kept, value in ordered
        for title in [f"{100 * kept:.3g} % kept: {units.percent(value)}"]
    ]
    ticks = [axes.text(x(kept), height - 5, f"{100 * kept:g}") for kept in x.ticks(4)]
    curve = axes.path([(x(kept), y(value)) for kept, value in ordered], "curve")
    return axes.canvas(
        width, height, label, "small", axes.percent_grid(y, left, width - right, 5), *ticks, curve, *dots
    )


def small_losses(points: Sequence[tuple[float, float]], span: tuple[float, float], label: str) -> Markup:
    """One group's curve: the loss against the share of channels removed, from none to all; all share ``span``."""
    width, height, left, right, top, bottom = 190.0, 112.0, 34.0, 14.0, 8.0, 20.0
    x = Scale(0.0, 1.0, left, width - right)
    y = Scale(*span, height - bottom, top)
    grid = [
        join(
            axes.line(left, y(tick), width - right, y(tick), "grid"),
            axes.text(left - 5, y(tick) + 4, units.significant(tick), "end"),
        )
        for tick in y.ticks(4)
    ]
    dots = [
        element("circle", {"class": "dot", "cx": x(share), "cy": y(loss), "r": 2.6}, element("title", None, title))
        for share, loss in points
        for title in [f"{100 * share:.0f} % removed: {units.significant(loss)}"]
    ]
    ticks = [axes.text(x(share), height - 5, f"{100 * share:.0f}") for share in (0.0, 0.5, 1.0)]
    curve = axes.path([(x(share), y(loss)) for share, loss in points], "curve")
    return axes.canvas(width, height, label, "small", *grid, *ticks, curve, *dots)


def small_history(values: Sequence[float | None], is_metric: bool, label: str) -> Markup:
    """One figure of a training step by epoch; the first and last value are written out. At least one value is there."""
    width, height, left, right, top, bottom = 250.0, 96.0, 8.0, 8.0, 24.0, 16.0
    drawn = [(epoch, value) for epoch, value in enumerate(values) if value is not None]
    x = Scale(-0.5 if len(values) == 1 else 0, max(0.5, len(values) - 1), left, width - right)
    known = [value for _, value in drawn]
    y = Scale(*axes.padded(known, 0.1, 0.002 if is_metric else max(1e-9, 0.05 * abs(known[0]))), height - bottom, top)
    show = units.percent if is_metric else units.significant
    (first, first_value), (last, last_value) = drawn[0], drawn[-1]
    parts = [axes.line(left, height - bottom, width - right, height - bottom, "axis")]
    parts.append(axes.path([(x(epoch), y(value)) for epoch, value in drawn], "curve"))
    for epoch, value in drawn:
        title = element("title", None, f"epoch {epoch + 1}: {show(value)}")
        parts.append(element("circle", {"class": "dot", "cx": x(epoch), "cy": y(value), "r": 2.6}, title))
    parts.append(axes.text(left, height - 3, f"epoch {first + 1}", "start"))
    parts.append(axes.text(left, 13, show(first_value), "start", "strong"))
    if last != first:
        parts.append(axes.text(width - right, height - 3, f"epoch {last + 1}", "end"))
        parts.append(axes.text(width - right, 13, show(last_value), "end", "strong"))
    return axes.canvas(width, height, label, "small", *parts)
