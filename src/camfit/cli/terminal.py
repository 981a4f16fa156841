"""What the command line shows: tables and lines for people, one JSON object for programs. Nothing in it is markup.

Progress and errors go to stderr, so that stdout holds the outcome alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from camfit.engine import Engine
from camfit.export import Exported
from camfit.fit import Limit, Result
from camfit.measure import Measurement
from camfit.measured_claims import measured_claims
from camfit.method import Entry
from camfit.options import options as of_method
from camfit.options import summary
from camfit.report import units
from camfit.video import Figures

# Where nobody looks at the width, a table row stays on one line.
_WIDE = 200


def line(text: str | Text, *, stderr: bool = False) -> None:
    """One line, never wrapped or interpreted."""
    _console(stderr).print(text, soft_wrap=True)


def progress(message: str) -> None:
    """A line of progress."""
    line(message, stderr=True)


def error(message: str) -> None:
    """An expected error, on one line."""
    line(Text.assemble(("error: ", "red"), " ".join(message.split())), stderr=True)


def print_json(value: Any) -> None:
    """One JSON value on one line, and nothing else."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


# -- the outcome of fit and apply ------------------------------------------------------------------------------


def result_json(result: Result) -> dict[str, Any]:
    """A result as JSON."""
    return {
        "file": str(result.file),
        "report": str(result.report),
        "met": result.met,
        "verdict": [vars(limit) for limit in result.verdict],
        "before": msgspec.to_builtins(result.before),
        "after": msgspec.to_builtins(result.after),
        "bytes": result.record["bytes"],
        "coders": result.record["coders"],
    }


def show_result(result: Result) -> None:
    """Before and after, where the bytes went, each limit, and where the files are."""
    before, after = result.before, result.after
    table = _table("", Column("before", justify="right"), Column("after", justify="right"), Column("", justify="right"))
    ratios = (
        units.points(before.accuracy, after.accuracy),
        units.change(before.bytes, after.bytes, "smaller", "larger"),
        units.change(before.ms_median, after.ms_median, "faster", "slower"),
        units.change(before.peak_bytes, after.peak_bytes, "less", "more"),
        units.change(before.macs, after.macs, "fewer", "more"),
        units.change(before.params, after.params, "fewer", "more"),
    )
    for (name, old), (_, new), ratio in zip(_figures(before), _figures(after), ratios, strict=True):
        table.add_row(name, old, new, ratio)
    _console().print(table)
    line("where the bytes are: " + _sizes(result.record["bytes"]))
    line("whole file by coder: " + _sizes(result.record["coders"]))
    for limit in result.verdict:
        mark = ("met", "green") if limit.met else ("not met", "red")
        line(Text.assemble(f"{limit.limit}: ", mark, f", {_found(limit)}"))
    line(f"file {result.file}\nreport {result.report}")


def missed(result: Result) -> str:
    """Which limits failed, by how much."""
    failed = [
        f"{limit.limit} by {units.amount(limit.delivered - limit.budget, limit.unit)} ({_found(limit)})"
        for limit in result.verdict
        if not limit.met
    ]
    return f"budget not met: {'; '.join(failed)}; the closest file is kept: {result.file}"


def _found(limit: Limit) -> str:
    delivered, budget = units.amount(limit.delivered, limit.unit), units.amount(limit.budget, limit.unit)
    return f"{delivered} of at most {budget}, {limit.basis}"


def _sizes(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {units.size(size)}" for name, size in parts.items())


# -- one packed file -------------------------------------------------------------------------------------------


def show_measurement(title: str, found: Measurement) -> None:
    """The figures of one packed file."""
    line(title)
    table = _table("", Column("", justify="right"))
    for name, value in _figures(found):
        table.add_row(name, value)
    table.add_row("95 % of runs within", units.milliseconds(found.ms_p95))
    table.add_row("threads, instruction set", f"{found.threads}, {found.isa}")
    _console().print(table)


def _figures(found: Measurement) -> list[tuple[str, str]]:
    return [
        (f"accuracy on {found.images:,} images", units.percent(found.accuracy)),
        ("file", units.exact_size(found.bytes)),
        ("an image, median", units.milliseconds(found.ms_median)),
        ("peak memory", units.exact_size(found.peak_bytes)),
        ("multiply-accumulates", units.count(found.macs)),
        ("stored parameters", units.count(found.params)),
    ]


def info_json(engine: Engine) -> dict[str, Any]:
    """What a packed file holds, as JSON."""
    return {**engine.info, "bytes": engine.bytes, "input": list(engine.input_shape), "layers": _layers(engine)}


def show_info(file: Path, engine: Engine) -> None:
    """What a packed file holds: model, classes, layers."""
    described = engine.info
    model, data = described.get("model", "unknown model"), described.get("data", "unknown data")
    line(f"{file}: {units.exact_size(engine.bytes)}, {model} for {data}")
    height, width, channels = engine.input_shape
    names = ", ".join(map(str, described.get("classes", []))) or "unnamed"
    line(f"input {height}x{width}x{channels}, classes {names}")
    table = _table("layer", "op", "form", *(Column(name, justify="right") for name in ("bytes", "parameters", "MACs")))
    for layer in _layers(engine):
        counts = (f"{layer[key]:,}" for key in ("stored_bytes", "params", "macs"))
        table.add_row(layer["name"], layer["op"], layer["form"], *counts)
    _console().print(table)


def video_summary(figures: Figures) -> str:
    """Frames a second, the parts' time a frame, and the share of one core, in words."""
    cpu = ", ".join(f"{part} {units.milliseconds(1e3 * figures.cpu[part] / figures.frames)}" for part in figures.cpu)
    text = (
        f"{figures.frames:,} frames with {figures.objects:,} objects, {figures.frames / figures.seconds:.1f} frames a "
        f"second; processor time a frame: {cpu}"
    )
    engine, both = figures.share("engine"), figures.share("detect", "engine")
    if engine is None or both is None:
        return text
    return (
        f"{text}; at the video's {figures.rate:g} frames a second the engine takes {100 * engine:.3g} % of one core, "
        f"with detection {100 * both:.3g} %"
    )


def _layers(engine: Engine) -> list[dict[str, Any]]:
    return [{key: value for key, value in layer.items() if key != "ns"} for layer in engine.layers]


def export_json(exported: Exported) -> dict[str, Any]:
    """An export as JSON."""
    return {
        "files": [str(path) for path in exported.files],
        "weight_bytes": exported.weight_bytes,
        "arena_bytes": exported.arena_bytes,
        "layers": exported.layers,
    }


def show_export(exported: Exported) -> None:
    """Where the files are, and the bytes of constants and arena."""
    table = _table("layer", Column("bytes of weights", justify="right"))
    for name, size in exported.layers.items():
        if size:
            table.add_row(name, f"{size:,}")
    _console().print(table)
    arena = f", arena {exported.arena_bytes:,} bytes" if exported.arena_bytes else ""
    line(f"weights {exported.weight_bytes:,} bytes{arena}")
    for path in exported.files:
        line(f"wrote {path}")


# -- the catalogue ---------------------------------------------------------------------------------------------


def entry_json(entry: Entry, *, options: bool = False) -> dict[str, Any]:
    """A catalogue entry as JSON, with its options where asked."""
    described: dict[str, Any] = {
        "row": entry.row,
        "name": entry.name,
        "family": entry.family,
        "paper": entry.paper,
        "module": entry.options.__module__,
    }
    if not options:
        return described
    claim = measured_claims().get(entry.row)
    return {
        **described,
        "options": [vars(option) for option in of_method(entry.options)],
        "claim": None if claim is None else msgspec.to_builtins(claim),
    }


def show_entries(entries: Sequence[Entry]) -> None:
    """The catalogue, a line a method."""
    table = _table("row", "name", "family", "paper")
    for entry in entries:
        table.add_row(entry.row, entry.name, entry.family, entry.paper)
    _console().print(table)


def show_entry(entry: Entry) -> None:
    """One method: its paper, what it does, what came of its claim, its options."""
    line(Text.assemble((entry.name, "bold"), f" ({entry.row}, {entry.family})\n{entry.paper}\n"))
    line(summary(entry.options) + "\n")
    if claim := measured_claims().get(entry.row):
        line(Text.assemble(("Measured: ", "bold"), f"{claim}\n"))
    table = _table("option", "type", "default", "what")
    for option in of_method(entry.options):
        table.add_row(option.name, option.type, option.default, option.what)
    _console().print(table)


# -- plumbing --------------------------------------------------------------------------------------------------


def _console(stderr: bool = False) -> Console:
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else _WIDE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def _table(*columns: str | Column) -> Table:
    return Table(*columns, box=None)
