"""Measures cells: plan, apply, pack; fine-tune, pack. Finished ones are kept, each with its packed file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch

from camfit.bench.bases import Base, base
from camfit.bench.interleave import interleave, ratios
from camfit.bench.machine import Machine, Others, this_machine
from camfit.bench.pruning.cells import NETWORKS, TUNING, Cell, cells
from camfit.cost import macs
from camfit.engine import Engine
from camfit.errors import BudgetError, CamfitError, PlanError
from camfit.forms import weight_of
from camfit.measure import accuracy
from camfit.method import Calibration
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.read import read
from camfit.recipe import method_with
from camfit.storage import write_atomically, write_json
from camfit.surgery import apply
from camfit.train import Train, train

Progress = Callable[[str], None]

CALIBRATION = 512  # training images that a method may look at
_SLICE = 0.2  # seconds of timed runs


class Row(msgspec.Struct, frozen=True):
    """Figures of one cell.

    Attributes:
        before, after: test accuracy of the packed file on the engine, before and after fine-tuning, in [0, 1].
        bytes: of the packed file after fine-tuning, float32 values.
        macs: multiply-accumulates left, as a share of the dense network's; zeros count.
        density: weights that are not zero, as a share of the dense network's.
        work: multiply-accumulates by weights that are not zero, counted in the packed file, as a share of its.
        planning, tuning: seconds that the method and the fine-tuning took.
        refused: why the method makes no such network; every figure is 0 then.
        milliseconds: of one image, one thread, the median; time: over the dense network's, measured by turns.
    """

    network: str
    kind: str
    name: str
    row: str
    level: float
    before: float = 0.0
    after: float = 0.0
    bytes: int = 0
    macs: float = 0.0
    density: float = 0.0
    planning: float = 0.0
    tuning: float = 0.0
    refused: str = ""
    milliseconds: float = 0.0
    time: float = 0.0
    work: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """One run: its rows, how each network was fine-tuned, where, and what else kept the machine busy in the timing."""

    command: str
    date: str
    seed: int
    machine: Machine
    tuning: dict[str, Train]
    training: dict[str, float]  # seconds
    others: float | None
    rows: list[Row]


def run(networks: Sequence[str], seed: int, runs: Path, command: str, progress: Progress, finished: bool) -> Report:
    """Measures all cells of the networks, or reads back what was; then times all packed files.

    Args:
        runs: folder of bases and finished cells.
        finished: measure nothing that is not finished already.

    Raises:
        CamfitError: an unknown network.
    """
    unknown = [name for name in networks if name not in NETWORKS]
    if unknown:
        raise CamfitError(f"network {unknown[0]!r}: expected one of {', '.join(NETWORKS)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that a seed's rows have the same bits on every machine with these instructions
    try:
        measured: list[Row] = []
        trained: dict[str, float] = {}
        for network in networks:
            subject = base(network, seed, runs / "bases", progress)
            trained[network] = subject.seconds
            for cell in cells(network):
                row = _row(cell, subject, seed, runs / "pruning" / f"seed-{seed}" / cell.folder, progress, finished)
                measured += [] if row is None else [row]
        others = Others()
        timed = [_timed(row, runs / "pruning" / f"seed-{seed}", progress) for row in measured]
    finally:
        torch.set_num_threads(threads)
    tuning = {name: TUNING[name] for name in networks}
    today = datetime.now(UTC).date().isoformat()
    return Report(command, today, seed, this_machine(), tuning, trained, others.share(), timed)


class _Kept(msgspec.Struct, frozen=True):
    """A finished cell's file; ``key`` is what its figures depend on."""

    key: str
    row: Row


def _row(cell: Cell, subject: Base, seed: int, folder: Path, progress: Progress, finished: bool) -> Row | None:
    """The cell's figures but for its times; None where they are not there and are not to be measured."""
    tuning = msgspec.to_builtins(TUNING[cell.network])
    key = json.dumps([asdict(cell), tuning, subject.dataset.fingerprint, CALIBRATION, seed], sort_keys=True)
    record = folder / "figures.json"
    kept = msgspec.json.decode(record.read_bytes(), type=_Kept) if record.exists() else None
    if kept is not None and kept.key == key:
        return kept.row
    if finished:
        return None
    label = f"{cell.network}: {cell.name}, {100 * cell.level:.0f} %"
    progress(label)
    row = _measured(cell, subject, seed, folder)
    write_json(record, {"key": key, "row": msgspec.to_builtins(row)})
    said = f"refused: {row.refused}" if row.refused else f"{100 * row.before:.2f} -> {100 * row.after:.2f} %"
    progress(f"{label}: {said}, planned in {row.planning:.1f} s")
    return row


def _measured(cell: Cell, subject: Base, seed: int, folder: Path) -> Row:
    named = Row(cell.network, cell.kind, cell.name, cell.row, cell.level)
    started = time.monotonic()
    try:
        pruned = _pruned(cell, subject, seed)
    except (PlanError, BudgetError) as error:
        return msgspec.structs.replace(named, refused=str(error), planning=time.monotonic() - started)
    planned = time.monotonic()
    before = _accuracy(pack(pruned, subject.dataset.normalisation).data, subject)
    begun = time.monotonic()
    train(pruned, subject.training, subject.validation, subject.task, TUNING[cell.network], seed=seed)
    tuned = time.monotonic()
    packed = pack(pruned, subject.dataset.normalisation).data
    write_atomically(folder / "network.camfit", packed)
    return msgspec.structs.replace(
        named,
        before=before,
        after=_accuracy(packed, subject),
        bytes=len(packed),
        macs=sum(macs(pruned).values()) / sum(macs(subject.network).values()),
        density=_weights(pruned) / _weights(subject.network),
        planning=planned - started,
        tuning=tuned - begun,
    )


def _weights(network: Network) -> int:
    return sum(int((weight_of(layer) != 0).sum()) for layer in network.weighted().values())


def _pruned(cell: Cell, subject: Base, seed: int) -> Network:
    if not cell.method:
        return subject.network.clone()
    drawn = torch.randperm(len(subject.training), generator=torch.Generator().manual_seed(seed))[:CALIBRATION]
    calibration = Calibration(subject.training.inputs[drawn], subject.training.targets[drawn], seed)
    plan = method_with(cell.method, cell.options).plan(subject.network, calibration)
    return apply(subject.network, plan)


def _accuracy(packed: bytes, subject: Base) -> float:
    return accuracy(Engine(packed), subject.dataset.test, subject.task)


def _timed(row: Row, folder: Path, progress: Progress) -> Row:
    """The row with its times, taken by turns with the dense network's."""
    if row.refused:
        return row
    own = Cell(row.network, row.kind, row.name, row.row, row.level)  # type: ignore[arg-type]
    dense = Cell(row.network, "dense", "dense", "", 0.0)
    files = [folder / cell.folder / "network.camfit" for cell in (own, dense)]
    engines = [Engine(file) for file in files]
    height, width, channels = engines[0].input_shape
    image = np.full((height, width, channels), 100, np.uint8)
    times, whole = interleave([partial(engine.run, image) for engine in engines], seconds=_SLICE, rounds=8)
    progress(f"{row.network}: {row.name}, {100 * row.level:.0f} %: {np.median(times.all):.3f} ms")
    return msgspec.structs.replace(
        row,
        milliseconds=float(np.median(times.all)),
        time=float(np.median(ratios(times, whole))),
        work=products(files[0]) / products(files[1]),
    )


def products(file: Path) -> int:
    """Multiply-accumulates by weights that are not zero, for one image of the packed file's network."""
    contents = read(file)
    return sum(
        int((weight.values != 0).sum()) * height * width
        for op, (height, width, _) in zip(contents.ops, contents.shapes[1:], strict=True)
        for weight in op.weights
        if weight is not None and weight.role == "weight"
    )
