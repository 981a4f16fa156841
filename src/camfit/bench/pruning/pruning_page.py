"""The page of all pruning methods side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from camfit.bench.page import milliseconds, percent, table
from camfit.bench.pruning.cells import DENSE, RANDOM
from camfit.bench.pruning.fully_connected import Fig4, fig4_lines
from camfit.bench.pruning.measure import CALIBRATION, Report, Row
from camfit.bench.pruning.plot import drawing
from camfit.storage import write_atomically, write_json

_HEAD = (
    "method",
    "row",
    "removed",
    "before",
    "after",
    "bytes",
    "weights left",
    "work left",
    "ms",
    "of dense",
    "minutes",
)
# A row that left more work than was asked for, beyond what one channel decides, is no rival of those that did not.
_CHANNEL = 0.05


def drawing_name(network: str) -> str:
    """The drawing's file beside the page."""
    return f"pruning-{network}.svg"


def save(report: Report, layers: Sequence[Fig4], folder: Path) -> None:
    """Writes pruning.json, pruning.md and a drawing for each network into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "pruning.json", {**msgspec.to_builtins(report), "layers": msgspec.to_builtins(layers)})
    write_atomically(folder / "pruning.md", page(report, layers).encode())
    for network in dict.fromkeys(row.network for row in report.rows):
        rows = [row for row in report.rows if row.network == network]
        write_atomically(folder / drawing_name(network), f"{drawing(network, rows)}\n".encode())


def page(report: Report, layers: Sequence[Fig4]) -> str:
    """docs/results/pruning.md."""
    networks = list(dict.fromkeys(row.network for row in report.rows))
    machine = report.machine
    busy = "unknown" if report.others is None else percent(report.others)
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    lines = [
        "# Pruning methods side by side",
        "",
        "Made by `camfit bench pruning` from `pruning.json`; do not edit. Networks trained on Fashion-MNIST.",
        "*before* and *after* are test accuracies of the packed file on the engine, before and after the same",
        "fine-tuning; test data chose nothing. *removed* is what was asked for: the share of the multiply-accumulates",
        "(structured), or of the weights that are to be zero (unstructured). Every other option is at its default, but",
        "single weights are ranked over all layers together, and whole kernels (structured-sparsity-kernels) go at",
        "that share of those that can go. *bytes*: the file, float32 values. *work left*: products by weights",
        "that are not zero. *ms*: one image, one thread, the median; *of dense*: over the dense network's, by turns.",
        "*minutes*: planning and fine-tuning, one thread, beside other work. One seed: differences below about half a",
        "point are chance. Structured methods are ranked where as much work is gone as was asked for.",
        "",
        f"The methods look at {CALIBRATION} training images. Random channels and weights are one draw.",
        "",
    ]
    for network in networks:
        rows = [row for row in report.rows if row.network == network]
        lines += [
            f"## {network}",
            "",
            f"Trained for {report.training[network] / 60:.1f} minutes; fine-tuning: {report.tuning[network]}.",
            *_leaders(rows),
            "",
            f"![Accuracy before and after fine-tuning]({drawing_name(network)})",
            "",
            *table(_HEAD, (_cells(row) for row in rows), left=2),
            "",
        ]
        lines += [f"- {row.name}, {percent(row.level)}: {row.refused}" for row in rows if row.refused]
        lines += [""] if any(row.refused for row in rows) else []
    lines += [*fig4_lines(layers), ""] if layers else []
    lines += [
        f"Command: `{report.command}`, seed {report.seed}. {report.date}. {machine.processor}, {machine.cores} cores; "
        f"others took {busy} of the processors during the timing. Versions: {versions}.",
        "",
    ]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    removed = "" if row.name == DENSE else f"{100 * row.level:.0f} %"
    if row.refused:
        return (row.name, row.row, removed, *["refused"] + [""] * 7)
    return (
        row.name, row.row, removed, f"{100 * row.before:.2f} %", f"{100 * row.after:.2f} %", f"{row.bytes:,}",
        percent(row.density), percent(row.work), milliseconds(row.milliseconds), f"{row.time:.2f}",
        f"{(row.planning + row.tuning) / 60:.1f}",
    )  # fmt: skip


def _leaders(rows: Sequence[Row]) -> Iterator[str]:
    """How many methods are ahead of chance at each level, after fine-tuning, and which leads."""
    for kind, unit in (("structured", "of the multiply-accumulates"), ("unstructured", "zeros")):
        levels = sorted({row.level for row in rows if row.kind == kind})
        said = []
        for level in levels:
            found = [row for row in rows if (row.kind, row.level) == (kind, level) and not row.refused]
            chance = next((row for row in found if row.name == RANDOM), None)
            methods = [row for row in found if row.name != RANDOM and (kind != "structured" or _removed(row))]
            if chance is None or not methods:
                continue
            ahead = sum(row.after > chance.after for row in methods)
            best = max(methods, key=lambda row: row.after)
            said.append(
                f"{100 * level:.0f} %: {ahead} of {len(methods)} ahead of random, {best.name} leads "
                f"({100 * best.after:.2f} %)"
            )
        if said:
            yield f"{kind.capitalize()} ({unit}): {'; '.join(said)}."


def _removed(row: Row) -> bool:
    return row.work <= 1 - row.level + _CHANNEL
