"""A public trained network that loses 30 % of its work without labels: MobileNet v2 on photographs of packages.

Each plan sees crops of one half of the photographs and is judged on the other half, as in
:mod:`camfit.bench.photographs`. Where a method asks for labels it gets the classes that the network itself names;
repair is distillation from the network itself (KD3) on the same crops.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from camfit.bench import photographs
from camfit.bench.claims.pieces import kept_piece
from camfit.bench.interleave import interleave, ratios
from camfit.bench.machine import Machine, this_machine
from camfit.bench.page import percent, table
from camfit.cost import macs
from camfit.data import Normalisation, to_tensor
from camfit.engine import Engine
from camfit.evaluate import Samples, predict
from camfit.large_blocks import keep_large_blocks
from camfit.loss import Teacher
from camfit.method import Calibration, Planner
from camfit.methods.distillation.soft_targets import SoftTargets
from camfit.methods.precision.folding import foldable, folded, replacements
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.methods.pruning.lasso_channels import LassoChannels
from camfit.methods.pruning.taylor import Taylor
from camfit.methods.pruning.thinet import ThiNet
from camfit.network import Network
from camfit.pack import pack
from camfit.plan import Plan
from camfit.storage import write_json
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, train
from camfit.zoo import pretrained

REMOVED = 0.3
_CROPS = 384  # that methods look at, at most
_LOCATIONS = 15  # of each crop, in one layer
_REPAIR = Train(2, learning_rate=0.005, batch_size=32, weight_decay=0.0, clip=1.0)
_LONGER = Train(3, learning_rate=0.005, batch_size=16, weight_decay=0.0, clip=1.0)
_SELF = SoftTargets(temperature=2.0, alpha=1.0)

# What is no block's own: the stem, the streams that blocks add into, and the last feature maps.
_SHARED = (
    "features.0.0",
    "features.1.conv.1",
    *(f"features.{n}.conv.2" for n in (2, 4, 7, 11, 14, 17)),
    "features.18.0",
)


@dataclass(frozen=True)
class Scheme:
    """One way to lose the multiply-accumulates.

    Attributes:
        planner: says what goes.
        soft: it is told the network's own outputs and compares with them by KL divergence, not the classes named.
    """

    name: str
    planner: Planner
    repair: Train = _REPAIR
    soft: bool = False


# The last one was chosen on the calibration side.
SCHEMES = (
    Scheme("L1 filters (PR6), every group alike", L1Filters(macs=REMOVED)),
    Scheme("L1 filters (PR6)", L1Filters(macs=REMOVED, skip=_SHARED)),
    Scheme("Taylor (PR5), own classes", Taylor(macs=REMOVED, images=128, skip=_SHARED)),
    Scheme("ThiNet (PR7)", ThiNet(macs=REMOVED, images=_CROPS, locations=_LOCATIONS, skip=_SHARED)),
    Scheme("LASSO channels (PR8)", LassoChannels(macs=REMOVED, images=_CROPS, locations=_LOCATIONS, skip=_SHARED)),
    Scheme(
        "LASSO channels (PR8), backward, least loss",
        LassoChannels(
            macs=REMOVED, images=_CROPS, locations=_LOCATIONS, skip=_SHARED, selection="backward",
            allocation="least-loss", ridge=0.03,
        ),
        _LONGER,
        soft=True,
    ),
)  # fmt: skip


class Row(msgspec.Struct, frozen=True):
    """Attributes:
    agree, crops_agree: middle crops, and all five crops of each photograph, that are named as by the whole network.
    repaired: after distillation from the whole network.
    by_fold: (middle crops named alike, middle crops) of each half.
    decibels: signal to noise of the logits.
    macs: left, as a share; time: milliseconds over the whole network's, one thread, by turns.
    """

    name: str
    repaired: bool
    agree: int
    photographs: int
    by_fold: list[tuple[int, int]]
    crops_agree: int
    crops: int
    decibels: float
    macs: float
    time: float


class Report(msgspec.Struct, frozen=True):
    """One run."""

    command: str
    seed: int
    crops: int
    machine: Machine
    rows: list[Row]


def measure(
    crops: int, seed: int, runs: Path, command: str, progress: Callable[[str], None] = lambda line: None
) -> Report:
    """Every scheme before and after repair.

    Args:
        crops: of each half of the photographs, to calibrate and repair with.
        runs: where the rows of finished schemes are kept; those of the same settings are used.

    Raises:
        CamfitError: a package is missing, or a kept file is damaged; says which.
    """
    keep_large_blocks()
    setting: Setting | None = None
    rows: list[Row] = []
    for number, scheme in enumerate(SCHEMES, 1):
        path = runs / f"{re.sub('[^a-z0-9]+', '-', scheme.name.lower()).strip('-')}.json"
        key = f"{scheme}, {crops} crops, seed {seed}"
        kept = kept_piece(path, key)
        if kept is None:
            setting = setting or prepare(crops, seed)
            progress(f"{number} of {len(SCHEMES)}: {scheme.name}")
            kept = {"rows": msgspec.to_builtins(measure_scheme(scheme, setting, seed, progress))}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"figures": kept, "key": key})
        rows += msgspec.convert(kept["rows"], list[Row])
    return Report(command, seed, crops, this_machine(), rows)


@dataclass(frozen=True, eq=False)
class Setting:
    """What all schemes share: the whole network, its engine, the halves of the photographs, and what they are named."""

    whole: Network
    pixels: Normalisation
    engine: Engine
    halves: tuple[photographs.Fold, photographs.Fold]
    expected: list[tuple[np.ndarray, np.ndarray]]


def prepare(crops: int, seed: int) -> Setting:
    """Reads network and photographs."""
    whole = without_norms(photographs.network())
    halves = photographs.folds(photographs.paths(), crops, seed)
    pixels = Normalisation.from_mean_std(pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD, 255)
    engine = Engine(pack(whole, pixels).data)
    expected = [(engine.run(half.centres), engine.run(half.corners)) for half in halves]
    return Setting(whole, pixels, engine, halves, expected)


def measure_scheme(scheme: Scheme, setting: Setting, seed: int, progress: Callable[[str], None]) -> list[Row]:
    """The scheme's row without repair, and the one with it."""
    whole, pixels, engine = setting.whole, setting.pixels, setting.engine
    found: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {False: [], True: []}
    sizes, times = [], []
    for half, other in (setting.halves, setting.halves[::-1]):
        inputs = to_tensor(other.random, pixels)
        samples = Samples(inputs, predict(whole, inputs).argmax(1))
        calibration = by_photograph(whole, inputs, len(other.centres), scheme.soft, seed)
        pruned = apply(whole, scheme.planner.plan(whole, calibration)).eval()
        sizes.append(sum(macs(pruned).values()) / sum(macs(whole).values()))
        for repaired in (False, True):
            if repaired:
                repair(pruned, whole, samples, scheme.repair, seed, progress)
            small = Engine(pack(pruned, pixels).data)
            found[repaired].append((small.run(half.centres), small.run(half.corners)))
        times.append(_time(small, engine, half.centres[0]))
    rows = []
    for repaired, logits in found.items():
        told = photographs.row(scheme.name, {}, setting.expected, logits)
        figures = {key: told[key] for key in ("agree", "photographs", "by_fold", "crops_agree", "crops", "decibels")}
        rows.append(Row(scheme.name, repaired, **figures, macs=float(np.mean(sizes)), time=float(np.mean(times))))
        progress(f"{scheme.name}, repaired: {repaired}: {rows[-1].agree} of {rows[-1].photographs}")
    return rows


def without_norms(network: Network) -> Network:
    """The network with its batch-norms folded: crops of a few photographs must not move their statistics."""
    norms = foldable(network, tuple(network.weighted()))
    layers = {path: folded(network.layer(path), network.layer(norm)) for path, norm in norms.items()}  # type: ignore[arg-type]
    return apply(network, Plan("fold", replacements(network, layers, norms))).eval()


def by_photograph(whole: Network, inputs: Tensor, photographs: int, soft: bool, seed: int) -> Calibration:
    """Crops for planning, those of one photograph behind the other: the last images are of photographs of their own.

    Targets are the classes that the network itself names, or its outputs.

    Args:
        inputs: crops of the photographs in turn.
    """
    inputs = inputs[(torch.arange(len(inputs)) % photographs).argsort(stable=True)]
    outputs = predict(whole, inputs)
    if soft:
        return Calibration(inputs, outputs, seed, divergence)
    return Calibration(inputs, outputs.argmax(1), seed)


def divergence(outputs: Tensor, expected: Tensor) -> Tensor:
    """Mean KL divergence, in nats, of the distributions that two sets of logits [N, classes] give."""
    return functional.kl_div(outputs.log_softmax(1), expected.log_softmax(1), reduction="batchmean", log_target=True)


def repair(
    pruned: Network, whole: Network, samples: Samples, training: Train, seed: int, progress: Callable[[str], None]
) -> None:
    """Trains the pruned network in place towards the whole one's outputs; labels have no weight."""
    term = _SELF.term(Teacher(whole))
    train(
        pruned, samples, Samples(samples.inputs[:32], samples.targets[:32]), classification(), training, terms=(term,),
        seed=seed, progress=progress, label="repair",
    )  # fmt: skip


def _time(small: Engine, whole: Engine, image: np.ndarray) -> float:
    of_small, of_whole = interleave([partial(engine.run, image) for engine in (small, whole)], seconds=0.5, rounds=8)
    return float(np.median(ratios(of_small, of_whole)))


def page(report: Report) -> str:
    """docs/results/photographs-pruned.md."""
    versions = ", ".join(f"{name} {version}" for name, version in report.machine.versions.items())
    alone, chosen = report.rows[-2:]
    plain = next(row for row in report.rows if not row.repaired)
    lines = [
        "# MobileNet v2 with 30 % less work",
        "",
        f"MobileNet v2 with public ImageNet weights, batch-norms folded, loses {100 * REMOVED:.0f} % of its",
        "multiply-accumulates without any label. Methods and repair see crops of one half of the photographs",
        f"({report.crops} of each half) and are judged on the other half. *Top-1*: how often the middle crop is named",
        "as by the whole network; *crops*: the same for five crops of each photograph. *Time*: over the whole",
        "network's, one thread, by turns. All of it runs packed, in the engine.",
        "",
        "But for *every group alike* the blocks' own channels alone are cut, not the streams that blocks add into.",
        f"*Repaired*: distilled from the whole network on the same crops, T = {_SELF.temperature:g}: {_REPAIR};",
        f"*backward*: {_LONGER}.",
        "*Backward, least loss*: channels leave one after the other, the rest refitted after each, as many of each",
        "group as cost the least KL divergence on photographs that nothing was fitted to. The scheme and its repair",
        "were chosen by crops of the first half's photographs: of *by half*, the second figure is of photographs that",
        "no choice has seen.",
        "",
        *table(
            ("method", "repaired", "top-1 as before", "by half", "crops", "signal to noise", "work left", "time"),
            (
                (
                    row.name,
                    "yes" if row.repaired else "no",
                    f"{percent(row.agree / row.photographs)} ({row.agree} of {row.photographs})",
                    ", ".join(f"{agree} of {number}" for agree, number in row.by_fold),
                    f"{percent(row.crops_agree / row.crops)} of {row.crops}",
                    f"{row.decibels:.1f} dB",
                    percent(row.macs),
                    f"{row.time:.2f}",
                )
                for row in report.rows
            ),
        ),
        "",
        f"Chosen on the calibration side: {chosen.name}, repaired. "
        f"It keeps {percent(chosen.agree / chosen.photographs)} of top-1 "
        f"({percent(chosen.crops_agree / chosen.crops)} of the crops), without repair "
        f"{percent(alone.agree / alone.photographs)} ({percent(alone.crops_agree / alone.crops)}).",
        f"{plain.name}, without repair keeps {percent(plain.agree / plain.photographs)}.",
        "",
        f"Made by `{report.command}` (seed {report.seed}). {report.machine.processor}. Versions: {versions}.",
        "",
    ]
    return "\n".join(lines)
