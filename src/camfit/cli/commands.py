"""The ``camfit`` command: every subcommand is a few lines over the Python API. No algorithms here.

Exit status: 0 done, 2 an error (one line on stderr), 3 a budget that could not be met, 130 interrupted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import camfit
from camfit import catalog, report
from camfit import data as datasets
from camfit.bench.command import app as bench_app
from camfit.classify import Classifier
from camfit.cli import terminal, words
from camfit.cli.arguments import (
    DataOption,
    EpochsOption,
    FileArgument,
    ImageSizeOption,
    JsonOption,
    MeanOption,
    ModelArgument,
    OutOption,
    RateOption,
    SeedOption,
    StdOption,
    ThreadsOption,
    UnlabelledOption,
    WeightsOption,
)
from camfit.data.image import read_image
from camfit.engine import Engine
from camfit.errors import BudgetError, CamfitError, DataError, ExportError, VideoError
from camfit.fit import Result
from camfit.large_blocks import keep_large_blocks
from camfit.measure import measure
from camfit.tasks import classification
from camfit.video import watch

ERROR, NOT_MET, INTERRUPTED = 2, 3, 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Fits a trained neural network onto a small device: one packed file, and a report of what was measured.",
    epilog="Exit status: 0 done, 2 an error, 3 a budget that could not be met, 130 interrupted.",
)
app.add_typer(bench_app, name="bench")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        terminal.line(version_of("camfit"))
        raise typer.Exit


@app.command()
def fit(
    model: ModelArgument,
    data: DataOption,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Largest file: 40kB, 40KiB, 1.5MB, or bytes", metavar="SIZE")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", help="Longest median run of one image: 2ms, 500us", metavar="TIME")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option("--max-drop", help="Largest loss of accuracy on validation data, in points: 0.3", metavar="N"),
    ] = None,
    out_dir: OutOption = Path("runs/fit"),
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    mean: MeanOption = None,
    std: StdOption = None,
    image_size: ImageSizeOption = None,
    epochs: EpochsOption = None,
    learning_rate: RateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a model until it fits a budget of one limit or more.

    An untrained model is trained first. Exit status 3 when the budget could not be met; the closest file is kept.

    Example: camfit fit zoo:lenet5 --data fashion-mnist --max-size 34kB --max-drop 0.2 --out runs/lenet5
    """
    if max_size is None and max_latency is None and max_drop is None:
        raise BudgetError("no budget: expected at least one of --max-size, --max-latency, --max-drop")
    budget = camfit.Budget.parse(max_size=max_size, max_latency=max_latency, max_drop=max_drop)
    dataset = words.dataset(data, seed, mean, std, image_size)
    training = words.training(model, dataset, epochs, learning_rate)
    keep_large_blocks()
    with _resumable():
        result = camfit.fit(
            model, dataset, budget, out=out_dir, weights=weights, training=training, seed=seed, threads=threads,
            progress=terminal.progress, command=_command(),
        )  # fmt: skip
    _finish(result, as_json)


@app.command()
def apply(
    recipe: Annotated[
        str, typer.Argument(help="A recipe (TOML), or a method by name or row, such as PR6", metavar="RECIPE")
    ],
    model: ModelArgument,
    data: DataOption,
    out_dir: OutOption = Path("runs/apply"),
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    mean: MeanOption = None,
    std: StdOption = None,
    image_size: ImageSizeOption = None,
    unlabelled: UnlabelledOption = None,
    epochs: EpochsOption = None,
    learning_rate: RateOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the method, the value as in TOML; repeatable", metavar="NAME=VALUE"),
    ] = None,
    tune: Annotated[
        int, typer.Option("--tune", help="Epochs of fine-tuning behind the method, at rate 0.01", min=0, metavar="N")
    ] = 0,
    exact: Annotated[bool, typer.Option("--exact", help="Store biases and codebooks as float32, not binary16")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe, or one method, on a model, pack the outcome and measure it.

    An untrained model is trained first. `camfit methods` lists what a recipe can name, `camfit methods PR6` the options
    of one.

    Example: camfit apply l1-filters zoo:lenet5 --data mnist-5k --set macs=0.5 --tune 2
    """
    chosen = words.recipe(recipe, settings or (), tune)
    dataset = words.dataset(data, seed, mean, std, image_size, unlabelled)
    training = words.training(model, dataset, epochs, learning_rate)
    keep_large_blocks()
    with _resumable():
        result = camfit.apply(
            chosen, model, dataset, out=out_dir, weights=weights, training=training, half=not exact, seed=seed,
            threads=threads, progress=terminal.progress, command=_command(),
        )  # fmt: skip
    _finish(result, as_json)


@app.command()
def info(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what a packed file holds: model, classes, and each layer's form and bytes."""
    engine = Engine(file)
    if as_json:
        terminal.print_json(terminal.info_json(engine))
    else:
        terminal.show_info(file, engine)


@app.command()
def run(
    file: FileArgument,
    images: Annotated[list[Path] | None, typer.Argument(help="Image files", metavar="IMAGES")] = None,
    threads: ThreadsOption = 1,
    video: Annotated[
        Path | None,
        typer.Option("--video", help="Instead of images, a fixed camera's video; needs camfit[video]", metavar="FILE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="With --video: write it with boxes drawn, .avi, .mp4 or .mkv", metavar="FILE"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --out")] = False,
) -> None:
    """Classify images with a packed file: one JSON line an image, on stdout. Or what moves in a fixed camera's video.

    Images are resized to the network's input, and turned to grey or colour as it needs. One that cannot be read is
    told on stderr; the others are classified, and the exit status is 2.

    With --video, what differs from a background that is learnt on the way, is over 40 pixels high, over 500 pixels in
    area and 1.5 to 4 times as high as wide, such as people, is cut out and classified. One JSON line a frame has the
    box (x, y, width, height), class, scores and probability of each object. A last line, {"summary": ...}, has frames a
    second, processor milliseconds a frame of each part (read, detect, engine, write) and the share of one core that
    they take at the video's own rate; stderr tells the same in words.

    Example: camfit run people.camfit --video street.avi --out named.avi
    """
    if video is not None:
        if images:
            raise VideoError(f"{images[0]}: images together with --video; expected one of them")
        _run_video(file, threads, video, out, force)
        return
    if not images:
        raise DataError("nothing to classify: expected IMAGES, or --video FILE")
    if out is not None or force:
        raise VideoError("--out and --force belong to --video")
    classifier = Classifier(Engine(file, threads=threads))
    failed = False
    for path in images:
        try:
            pixels = classifier.pixels(read_image(path, classifier.size))
        except DataError as error:
            terminal.error(str(error))
            failed = True
            continue
        terminal.print_json({"image": str(path), **classifier.answer(pixels).record})
    if failed:
        raise typer.Exit(ERROR)


def _run_video(file: Path, threads: int, video: Path, out: Path | None, force: bool) -> None:
    figures = watch(
        Engine(file, threads=threads), video, out, force=force, progress=terminal.progress,
        each=lambda number, seen: terminal.print_json({"frame": number, "objects": [one.record for one in seen]}),
    )  # fmt: skip
    terminal.print_json({"summary": {**figures.record, "out": None if out is None else str(out)}})
    terminal.line(terminal.video_summary(figures), stderr=True)


@app.command(name="measure")
def measure_command(
    file: FileArgument,
    data: DataOption,
    split: Annotated[str, typer.Option("--split", help="train, val or test", metavar="SPLIT")] = "test",
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure a packed file: accuracy, bytes, milliseconds an image, peak memory.

    Give the --seed of the run that made the file: it decides which images are in which split. Images of a folder are
    resized to the network's input.
    """
    engine = Engine(file)
    height, width, channels = engine.input_shape
    size = (height, width) if data not in datasets.names() and Path(data).expanduser().is_dir() else None
    dataset = datasets.load(data, seed=seed, size=size)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    if split not in splits:
        raise DataError(f"--split {split!r}: expected train, val or test")
    if dataset.input_shape != (channels, height, width):
        found = "{1}x{2}x{0}".format(*dataset.input_shape)
        raise DataError(
            f"{data}: images of {found} (height, width, channels); {file} takes {height}x{width}x{channels}"
        )
    outputs = engine.output_shape
    if outputs != (1, 1, len(dataset.classes)):
        raise DataError(f"{data}: {len(dataset.classes)} classes; {file} has outputs of shape {list(outputs)}")
    found_figures = measure(file, splits[split], classification(), threads=threads)
    if as_json:
        terminal.print_json(msgspec.to_builtins(found_figures))
    else:
        terminal.show_measurement(f"{file} on the {split} images of {data}", found_figures)


@app.command()
def export(
    file: FileArgument,
    to: Annotated[str, typer.Option("--to", help="c: sources for firmware; onnx: one ONNX file", metavar="FORMAT")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory for c, file for onnx; made if missing", metavar="PATH")
    ],
    name: Annotated[
        str, typer.Option("--name", help="With c: name of the files and prefix of the functions", metavar="NAME")
    ] = "model",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that camfit has not written")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a packed file as C sources for firmware, or as an ONNX model.

    The sources (NAME.h, NAME.c, NAME_weights.h) need no library and no heap: weights stay in their compressed form as
    constants, activations live in one static array, and outputs are those of the engine's plain kernels, bit for bit.
    An ONNX model holds the same network with dense float weights, the normalisation of the input included.

    Example: camfit export runs/demo/model.camfit --to c -o firmware --name digits
    """
    if to == "c":
        exported = camfit.export_c(file, out, name=name, force=force)
    elif to == "onnx":
        exported = camfit.export_onnx(file, out, force=force)
    else:
        raise ExportError(f"--to {to!r}: expected c or onnx")
    if as_json:
        terminal.print_json(terminal.export_json(exported))
    else:
        terminal.show_export(exported)


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method, by name or row, such as PR6", metavar="[METHOD]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods that recipes can name; with a name, its paper and options."""
    if name is not None:
        entry = catalog.find(name)
        if as_json:
            terminal.print_json(terminal.entry_json(entry, options=True))
        else:
            terminal.show_entry(entry)
        return
    entries = list(catalog.methods().values())
    if as_json:
        terminal.print_json({"methods": [terminal.entry_json(entry) for entry in entries]})
    else:
        terminal.show_entries(entries)


@app.command(name="report")
def report_command(directory: Annotated[Path, typer.Argument(help="A run directory", metavar="RUN")]) -> None:
    """Write a run's report.html again from its figures (report.json)."""
    terminal.line(str(report.write(directory)))


@app.command()
def demo(out_dir: OutOption = Path("runs/demo"), seed: SeedOption = 0) -> None:
    """The main job on scikit-learn's digits, in about a minute: train, compress to a budget, pack, run, report."""
    with _resumable():
        result = camfit.fit(
            "zoo:digits_cnn", "digits", camfit.Budget.parse(max_size="6kB", max_drop="1.0"), out=out_dir, seed=seed,
            progress=terminal.progress, command=f"camfit demo --out {shlex.quote(str(out_dir))} --seed {seed}",
        )  # fmt: skip
    _finish(result, False)
    file = shlex.quote(str(result.file))
    terminal.line("\nNext:")
    for command in (
        f"camfit info {file}",
        f"camfit measure {file} --data digits --seed {seed} --threads 2",
        "camfit methods",
        "camfit fit zoo:lenet5 --data fashion-mnist --max-size 34kB --out runs/lenet5",
    ):
        terminal.line(f"  {command}")


def main() -> None:
    """Entry point: expected errors become one line on stderr and exit status 2."""
    try:
        app()
    except CamfitError as error:
        terminal.error(str(error))
        sys.exit(ERROR)


# -- helpers ---------------------------------------------------------------------------------------------------


@contextmanager
def _resumable() -> Iterator[None]:
    """Says, where the work inside is interrupted, that it is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.line("interrupted; the same command goes on from here", stderr=True)
        raise typer.Exit(INTERRUPTED) from None


def _command() -> str:
    return shlex.join(["camfit", *sys.argv[1:]])


def _finish(result: Result, as_json: bool) -> None:
    if as_json:
        terminal.print_json(terminal.result_json(result))
    else:
        terminal.show_result(result)
    if not result.met:
        terminal.line(terminal.missed(result), stderr=True)
        raise typer.Exit(NOT_MET)
