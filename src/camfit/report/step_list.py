"""What each step did and why, with its notes and training curves; the plots of accuracy, trials and sensitivity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from camfit.report import axes, plots, units
from camfit.report.markup import Markup, details, element, estimate_mark, join, key, scroll_table, section
from camfit.report.plots import Cost
from camfit.report.record import Record, Step, Trial

NOTE_ROWS = 60  # rows of notes shown for one step, so that the page stays small; the record holds them all


def accuracy_section(record: Record, alone: bool) -> Markup | None:
    """The plot of the validation metric after each step; ``alone`` when nothing stands beside it."""
    steps = record.steps or ()
    if not any(step.validation is not None for step in steps):
        return None
    kinds = {step.kind for step in steps}
    entries = [entry for entry in (("rewrite", "rewrites the network"), ("train", "trains it")) if entry[0] in kinds]
    if any(step.history.get("validation") for step in steps):
        entries.append(("epoch", "an epoch of a training step"))
    figure = element("figure", {"class": "alone" if alone else None}, plots.accuracy_plot(steps, record.metric, alone))
    return section("accuracy", f"{record.metric.capitalize()} at each step", figure, key(*entries))


# -- trials ----------------------------------------------------------------------------------------------------


def _trial_row(trial: Trial, columns: dict[str, bool]) -> list[Markup | str]:
    met = units.NONE if trial.met is None else "within" if trial.met else "outside"
    chosen = element("span", {"class": "chip good"}, "chosen") if trial.chosen else None
    row: list[Markup | str] = [join(trial.name, " ", chosen, estimate_mark(trial.basis))]
    if columns["density"]:
        row.append(units.percent(trial.density, 1))
    if columns["bytes"]:
        row.append(units.NONE if trial.bytes is None else units.count(trial.bytes))
    if columns["ms"]:
        row.append(units.milliseconds(trial.ms))
    return [*row, units.percent(trial.validation), met]


def trials_section(record: Record) -> Markup | None:
    """What the search tried: size (and time, where there is a limit on it) against the validation metric."""
    trials = record.trials
    if not trials:
        return None
    limits = record.budget
    floor = None
    baseline = None if record.validation is None else record.validation.before
    if limits is not None and limits.max_drop is not None and baseline is not None:
        floor = baseline - limits.max_drop / 100
    size = Cost("size of the file", "max-size", limits.max_size if limits else None, True)
    time = Cost("milliseconds an image", "max-latency", limits.max_latency if limits else None, False)
    costs = [cost for cost in (size, time) if cost.limit is not None and cost.limit > 0] or [replace(size, limit=None)]
    figures = [
        element("figure", None, plots.trials_plot(trials, cost, floor, record.metric))
        for cost in costs
        if any(cost.of(trial) is not None and trial.validation is not None for trial in trials)
    ]
    entries = [
        (kind, meaning)
        for kind, meaning, met in (("met", "within the budget", True), ("unmet", "outside the budget", False))
        if any(trial.met is met for trial in trials)
    ]
    columns = {
        "density": any(trial.density is not None for trial in trials),
        "bytes": any(trial.bytes is not None for trial in trials),
        "ms": any(trial.ms is not None for trial in trials),
    }
    titles = {"density": "Weights kept", "bytes": "Bytes", "ms": "Time an image"}
    head = ["Trial", *(titles[name] for name in titles if columns[name]), f"Validation {record.metric}", "Budget"]
    table = scroll_table("Trials", head, (_trial_row(trial, columns) for trial in trials))
    summary = details(f"All {len(trials)} trials", table) if len(trials) > 1 else table
    row = element("div", {"class": "row"}, figures) if figures else None
    return section("trials", "Trials", row, key(*entries) if entries and figures else None, summary)


# -- sensitivity -----------------------------------------------------------------------------------------------


def sensitivity_section(record: Record) -> Markup | None:
    """One small curve a layer: the validation metric when only this layer is pruned. All share one vertical scale."""
    curves = {
        name: [(kept, value) for kept, value in points if value is not None and 0 < kept <= 1]
        for name, points in (record.sensitivity or {}).items()
    }
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None
    span = axes.padded([value for points in curves.values() for _, value in points], 0.06, 0.01)
    fewest = min(0.5, *(kept for points in curves.values() for kept, _ in points))
    cells = []
    for name, points in curves.items():
        kept, value = min(points)
        lowest = f"{units.percent(value)} at {100 * kept:.3g}{units.NBSP}% kept"
        label = f"{name}: {record.metric} against the share of its weights kept; {lowest}"
        caption = element("figcaption", None, element("strong", None, name), element("span", {"class": "note"}, lowest))
        cells.append(element("figure", None, caption, plots.small_sensitivity(points, fewest, span, label)))
    note = (
        f"Validation {record.metric} (%) when this layer alone keeps a share of its weights "
        "(%, logarithmic, fewer to the right). All layers share one scale: the steeper, the more sensitive."
    )
    return section(
        "sensitivity", "Sensitivity", element("p", {"class": "note"}, note), element("div", {"class": "grid"}, cells)
    )


# -- the list of steps -----------------------------------------------------------------------------------------


def _note_value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: units.NONE}[value]
    if isinstance(value, int):
        return units.count(value)
    if isinstance(value, float):
        return units.significant(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_note_value(item) for item in value)
    return str(value)


def _notes(step: Step) -> Markup | None:
    if not step.notes:
        return None
    rows = {name: value if isinstance(value, dict) else {"value": value} for name, value in step.notes.items()}
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    shown = list(rows.items())[:NOTE_ROWS]
    table = scroll_table(
        f"Notes of the step {step.name}",
        ("Where", *columns),
        ((name, *(_note_value(row[key]) if key in row else units.NONE for key in columns)) for name, row in shown),
    )
    rest = len(rows) - len(shown)
    more = element("p", {"class": "note"}, f"{rest} more are in report.json.") if rest else None
    return details(f"Notes, {len(rows)} {'entry' if len(rows) == 1 else 'entries'}", table, more)


def _sensitivity(step: Step) -> Markup | None:
    """One small curve a group or layer: the loss when it alone is cut. All share one vertical scale."""
    curves = {
        name: [(share, loss) for share, loss in points if loss is not None] for name, points in step.curves.items()
    }
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return None
    span = axes.padded([loss for points in curves.values() for _, loss in points], 0.06, 0.01)
    kept = {name: row.get("kept") for name, row in step.notes.items() if isinstance(row, dict)}
    figures = []
    for name, points in curves.items():
        chosen = f"keeps {kept[name]}" if kept.get(name) is not None else "stays whole"
        caption = element("figcaption", None, element("strong", None, name), element("span", {"class": "note"}, chosen))
        label = f"{name}: loss against the share of it that is gone"
        figures.append(element("figure", None, caption, plots.small_losses(points, span, label)))
    note = (
        "Mean loss on the calibration images when this group of channels, or this layer's weights, alone lose a share "
        "(%), without retraining. All have one scale: the steeper, the more sensitive."
    )
    return details("Sensitivity", element("p", {"class": "note"}, note), element("div", {"class": "grid"}, figures))


def _curves(step: Step) -> Markup | None:
    figures = []
    for name, values in step.history.items():
        if any(value is not None for value in values):
            plot = plots.small_history(values, name == "validation", f"{name} by epoch in the step {step.name}")
            figures.append(element("figure", None, element("figcaption", None, name), plot))
    return details("Training curves", element("div", {"class": "grid"}, figures)) if figures else None


def _step(step: Step, previous: float | None, metric: str) -> Markup:
    facts: list[Markup | str] = []
    if step.validation is not None:
        change = "" if previous is None else f" ({units.points(previous, step.validation)})"
        facts.append(f"validation {metric} {units.percent(step.validation)}{change}")
    if step.bytes is not None:
        facts.append(units.exact_size(step.bytes))
    if step.seconds is not None:
        facts.append(units.seconds(step.seconds))
    kind = "rewrite" if step.kind == "rewrite" else "train" if step.kind == "train" else "plain"
    head = join(
        element("strong", None, step.name),
        " ",
        element("span", {"class": f"chip {kind}"}, step.kind) if step.kind not in ("", step.name) else None,
        estimate_mark(step.basis),
    )
    return element(
        "li",
        None,
        element("p", {"class": "step-name"}, head),
        element("p", None, step.what) if step.what else None,
        element("p", {"class": "why"}, step.why) if step.why else None,
        element("p", {"class": "facts"}, (element("span", None, fact) for fact in facts)) if facts else None,
        _curves(step),
        _sensitivity(step),
        _notes(step),
    )


def steps_section(record: Record) -> Markup | None:
    """The list of steps, numbered as in the plot."""
    if not record.steps:
        return None
    items, previous = [], None
    for step in record.steps:
        items.append(_step(step, previous, record.metric))
        previous = step.validation if step.validation is not None else previous
    return section("steps", "What each step did", element("ol", {"class": "steps"}, items))
