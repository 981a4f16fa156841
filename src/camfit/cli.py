"""The ``camfit`` command: every subcommand is a few lines over the Python API. No algorithms here."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

import camfit
from camfit import catalog, report
from camfit import data as datasets
from camfit.data import Dataset
from camfit.data.image import read_image
from camfit.engine import Engine
from camfit.errors import CamfitError, DataError
from camfit.fit import Result
from camfit.measure import Measurement, measure
from camfit.tasks import classification
from camfit.train import Train
from camfit.report import units

NOT_MET = 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Fits a trained neural network onto a small device: one packed file, and a report of what was measured.",
)
out, err = Console(), Console(stderr=True)

ModelArgument = Annotated[str, typer.Argument(help="zoo:NAME, path/to/file.py:factory, or a .pt2 file", metavar="MODEL")]
DataOption = Annotated[
    str, typer.Option("--data", help="digits, mnist-5k, fashion-mnist, an .npz file, or a folder of class folders", metavar="DATA")
]
OutOption = Annotated[Path, typer.Option("--out", help="Run directory; the same command goes on where it was interrupted", metavar="RUN")]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="State dict: .safetensors, .pt or .pth", metavar="FILE")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of every random choice")]
ThreadsOption = Annotated[int, typer.Option("--threads", help="Threads of the engine when measuring", min=1, max=64)]
MeanOption = Annotated[str | None, typer.Option("--mean", help="Pixel mean per channel in 0..1, comma-separated; default: of the training images")]
StdOption = Annotated[str | None, typer.Option("--std", help="Pixel deviation per channel in 0..1, comma-separated")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs for training an untrained model", min=1)]
RateOption = Annotated[float | None, typer.Option("--learning-rate", help="Learning rate for training an untrained model")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else")]
FileArgument = Annotated[Path, typer.Argument(help="A packed network (.camfit)", metavar="FILE")]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        out.print(version_of("camfit"), highlight=False)
        raise typer.Exit


@app.command()
def fit(
    model: ModelArgument,
    data: DataOption,
    max_size: Annotated[str | None, typer.Option("--max-size", help="Largest file: 40kB, 40KiB, 1.5MB, or bytes")] = None,
    max_latency: Annotated[str | None, typer.Option("--max-latency", help="Longest median run of one image: 2ms, 500us")] = None,
    max_drop: Annotated[str | None, typer.Option("--max-drop", help="Largest loss of accuracy, in points: 0.3")] = None,
    out_dir: OutOption = Path("runs/fit"),
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    mean: MeanOption = None,
    std: StdOption = None,
    epochs: EpochsOption = None,
    learning_rate: RateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a model until it fits a budget; exit status 3 when it could not (the closest file is kept)."""
    budget = camfit.Budget.parse(max_size=max_size, max_latency=max_latency, max_drop=max_drop)
    dataset = _dataset(data, seed, mean, std)
    result = camfit.fit(
        model, dataset, budget, out=out_dir, weights=weights, training=_training(epochs, learning_rate), seed=seed,
        threads=threads, progress=_progress, command=_command(),
    )  # fmt: skip
    _finish(result, as_json)


@app.command()
def apply(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML)", metavar="RECIPE.toml")],
    model: ModelArgument,
    data: DataOption,
    out_dir: OutOption = Path("runs/apply"),
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    mean: MeanOption = None,
    std: StdOption = None,
    epochs: EpochsOption = None,
    learning_rate: RateOption = None,
    exact: Annotated[bool, typer.Option("--exact", help="Store biases and codebooks as float32, not as binary16")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe on a model, pack the outcome and measure it."""
    dataset = _dataset(data, seed, mean, std)
    result = camfit.apply(
        recipe, model, dataset, out=out_dir, weights=weights, training=_training(epochs, learning_rate), half=not exact,
        seed=seed, threads=threads, progress=_progress, command=_command(),
    )  # fmt: skip
    _finish(result, as_json)


@app.command()
def info(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what a packed file holds: model, classes, and each layer's form and bytes."""
    engine = Engine(file)
    height, width, channels = engine.input_shape
    layers = [{key: value for key, value in layer.items() if key != "ns"} for layer in engine.layers]
    if as_json:
        _print_json({**engine.info, "bytes": engine.bytes, "input": [height, width, channels], "layers": layers})
        return
    described = engine.info
    out.print(f"[bold]{file}[/]: {units.exact_size(engine.bytes)}, {described.get('model', 'unknown model')} for {described.get('data', 'unknown data')}")
    out.print(f"input {height}x{width}x{channels}, classes {', '.join(map(str, described.get('classes', []))) or 'unnamed'}")
    table = Table("layer", "op", "form", *(_right(name) for name in ("bytes", "parameters", "MACs")), box=None)
    for layer in layers:
        table.add_row(layer["name"], layer["op"], layer["form"], *(f"{layer[key]:,}" for key in ("stored_bytes", "params", "macs")))
    out.print(table)


@app.command()
def run(
    file: FileArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files", metavar="IMAGES...")],
    threads: ThreadsOption = 1,
) -> None:
    """Classify images with a packed file: one JSON line an image. Images of another size are resized."""
    engine = Engine(file, threads=threads)
    height, width, channels = engine.input_shape
    classes = engine.info.get("classes", [])
    failed = False
    for path in images:
        try:
            scores = engine.run(_as_channels(read_image(path, (height, width)), channels)).reshape(-1)
        except CamfitError as error:
            failed = True
            err.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
            continue
        best = int(scores.argmax())
        line = {"image": str(path), "class": best, "label": classes[best] if best < len(classes) else None, "scores": [round(float(s), 5) for s in scores]}
        print(json.dumps(line, ensure_ascii=False), flush=True)
    if failed:
        raise typer.Exit(1)


@app.command(name="measure")
def measure_command(
    file: FileArgument,
    data: DataOption,
    split: Annotated[str, typer.Option("--split", help="train, val or test")] = "test",
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure a packed file: accuracy, bytes, milliseconds an image, peak memory."""
    dataset = datasets.load(data, seed=seed)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    if split not in splits:
        raise DataError(f"--split {split!r}: expected train, val or test")
    found = measure(file, splits[split], classification(), threads=threads)
    if as_json:
        _print_json(msgspec.to_builtins(found))
        return
    table = Table("", _right(str(file)), box=None)
    for name, value in _figures(found):
        table.add_row(name, value)
    out.print(table)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, by name or row", metavar="[METHOD]")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods that recipes can name; with a name, its paper and options."""
    entries = list(catalog.methods().values()) if name is None else [catalog.find(name)]
    lines = [
        {"row": e.row, "name": e.name, "family": e.family, "paper": e.paper, "module": e.options.__module__} for e in entries
    ]
    if as_json:
        _print_json({"methods": lines} if name is None else {**lines[0], "options": _options(entries[0].options)})
        return
    if name is None:
        table = Table("row", "name", "family", "paper", box=None)
        for line in lines:
            table.add_row(line["row"], line["name"], line["family"], line["paper"])
        out.print(table)
        return
    out.print(f"[bold]{lines[0]['name']}[/] ({lines[0]['row']}, {lines[0]['family']})\n{lines[0]['paper']}\n")
    out.print((entries[0].options.__doc__ or "").strip(), highlight=False, markup=False)
    table = Table("option", "type", "default", box=None)
    for option in _options(entries[0].options):
        table.add_row(option["name"], option["type"], option["default"])
    out.print()
    out.print(table)


@app.command(name="report")
def report_command(directory: Annotated[Path, typer.Argument(help="A run directory", metavar="RUN")]) -> None:
    """Write a run's report.html again from its figures."""
    out.print(str(report.write(directory)), highlight=False, soft_wrap=True)


@app.command()
def demo(out_dir: OutOption = Path("runs/demo"), seed: SeedOption = 0) -> None:
    """The main job on scikit-learn's digits, in about a minute: train, compress to a budget, pack, run, report."""
    result = camfit.fit(
        "zoo:digits_cnn", "digits", camfit.Budget.parse(max_size="6kB", max_drop="1.0"), out=out_dir, seed=seed,
        progress=_progress, command=f"camfit demo --out {shlex.quote(str(out_dir))}",
    )  # fmt: skip
    _finish(result, False)
    out.print("\nNext:", highlight=False)
    for command in (
        f"camfit info {result.file}",
        f"camfit measure {result.file} --data digits --threads 2",
        "camfit methods",
        "camfit fit zoo:lenet5 --data fashion-mnist --max-size 34kB --out runs/lenet5",
    ):
        out.print(f"  {command}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: expected errors become one line on stderr and exit status 2."""
    try:
        app()
    except CamfitError as error:
        err.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on from here")
        sys.exit(130)


# -- helpers ---------------------------------------------------------------------------------------------------


def _progress(message: str) -> None:
    err.print(message, highlight=False, markup=False, soft_wrap=True)


def _command() -> str:
    return shlex.join(["camfit", *sys.argv[1:]])


def _dataset(data: str, seed: int, mean: str | None, std: str | None) -> Dataset:
    return datasets.load(data, seed=seed, mean=_numbers(mean, "--mean"), std=_numbers(std, "--std"))


def _numbers(text: str | None, option: str) -> float | list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise DataError(f"{option} {text!r}: expected numbers separated by commas") from error
    return values[0] if len(values) == 1 else values


def _training(epochs: int | None, learning_rate: float | None) -> Train | None:
    if epochs is None and learning_rate is None:
        return None
    return Train(epochs=epochs or 20, learning_rate=learning_rate or 0.02, schedule="one-cycle")


def _as_channels(pixels: Any, channels: int) -> Any:
    """Grey for a grey network (Rec. 601 luma), three equal channels for a colour one."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 1:
        return (pixels.astype("float32") @ [0.299, 0.587, 0.114] + 0.5).astype("uint8")[..., None]
    if channels == 3:
        return pixels.repeat(3, axis=-1)
    raise DataError(f"an image of {pixels.shape[-1]} channels; the network takes {channels}")


def _finish(result: Result, as_json: bool) -> None:
    if as_json:
        verdict = [vars(limit) for limit in result.verdict]
        before, after = msgspec.to_builtins(result.before), msgspec.to_builtins(result.after)
        _print_json({"file": str(result.file), "report": str(result.report), "met": result.met, "verdict": verdict, "before": before, "after": after})
    else:
        table = Table("", _right("before"), _right("after"), _right("ratio"), box=None)
        for (name, before_text), (_, after_text), (a, b) in zip(
            _figures(result.before), _figures(result.after), _pairs(result.before, result.after), strict=True
        ):
            table.add_row(name, before_text, after_text, "" if a is None else f"{a / max(b, 1e-12):.1f}x")
        out.print(table)
        out.print("bytes: " + ", ".join(f"{name} {size:,}" for name, size in result.record["bytes"].items()), highlight=False, soft_wrap=True)
        out.print("coders: " + ", ".join(f"{name} {size:,}" for name, size in result.record["coders"].items()), highlight=False, soft_wrap=True)
        for limit in result.verdict:
            mark = "[green]met[/]" if limit.met else "[red]not met[/]"
            out.print(f"{limit.limit}: {limit.delivered:,.4g} of {limit.budget:,.4g} {limit.unit} ({limit.basis}): {mark}", highlight=False)
        out.print(f"file {result.file}\nreport {result.report}", highlight=False, soft_wrap=True)
    if not result.met:
        raise typer.Exit(NOT_MET)


def _figures(found: Measurement) -> list[tuple[str, str]]:
    return [
        ("accuracy", f"{100 * found.accuracy:.2f} %"),
        ("file", units.exact_size(found.bytes)),
        ("an image", units.milliseconds(found.ms_median)),
        ("peak memory", units.exact_size(found.peak_bytes)),
        ("multiply-accumulates", f"{found.macs:,}"),
        ("stored parameters", f"{found.params:,}"),
    ]


def _pairs(before: Measurement, after: Measurement) -> list[tuple[float | None, float]]:
    return [
        (None, 1.0), (before.bytes, after.bytes), (before.ms_median, after.ms_median),
        (before.peak_bytes, after.peak_bytes), (before.macs, after.macs), (before.params, after.params),
    ]  # fmt: skip


def _options(kind: type) -> list[dict[str, str]]:
    assert is_dataclass(kind)
    described = []
    for option in fields(kind):
        default = option.default
        if default is MISSING:
            default = option.default_factory() if option.default_factory is not MISSING else "required"
        described.append({"name": option.name, "type": str(option.type), "default": str(default)})
    return described


def _right(title: str) -> Any:
    from rich.table import Column

    return Column(title, justify="right")


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))
