"""A public trained network that loses 30 % of its work without labels: MobileNet v2 on photographs of packages.

Each plan sees crops of one half of the photographs and is judged on the other half, as in
:mod:`camfit.bench.photographs`. Where a method asks for labels it gets the classes that the network itself names;
repair is distillation from the network itself (KD3) on the same crops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np

from camfit.bench import photographs
from camfit.bench.interleave import interleave, ratios
from camfit.bench.machine import Machine, this_machine
from camfit.bench.page import percent, table
from camfit.cost import macs
from camfit.data import Normalisation, to_tensor
from camfit.engine import Engine
from camfit.evaluate import Samples, predict
from camfit.loss import Teacher
from camfit.method import Calibration, Planner
from camfit.methods.distillation.soft_targets import SoftTargets
from camfit.methods.precision.folding import foldable, folded, replacements
from camfit.methods.pruning.geometric_median import GeometricMedian
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.methods.pruning.lasso_channels import LassoChannels
from camfit.methods.pruning.taylor import Taylor
from camfit.methods.pruning.thinet import ThiNet
from camfit.network import Network
from camfit.pack import pack
from camfit.plan import Plan
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, train
from camfit.zoo import pretrained

REMOVED = 0.3
_LOOKED_AT = 64  # crops that methods look at; repair sees all
# Rate and length were chosen by the outputs' error on further crops of the calibration side's photographs.
_REPAIR = Train(3, learning_rate=0.005, batch_size=32, weight_decay=0.0, clip=1.0)
_SELF = SoftTargets(temperature=2.0, alpha=1.0)

_METHODS: tuple[tuple[str, Callable[[], Planner]], ...] = (
    ("L1 filters (PR6)", lambda: L1Filters(macs=REMOVED)),
    ("geometric median (PR11)", lambda: GeometricMedian(macs=REMOVED)),
    ("Taylor (PR5), own classes", lambda: Taylor(macs=REMOVED, images=_LOOKED_AT)),
    ("ThiNet (PR7)", lambda: ThiNet(macs=REMOVED)),
    ("LASSO channels (PR8)", lambda: LassoChannels(macs=REMOVED)),
)


class Row(msgspec.Struct, frozen=True):
    """Attributes:
    agree, crops_agree: middle crops, and all five crops of each photograph, that are named as by the whole network.
    repaired: after distillation from the whole network.
    decibels: signal to noise of the logits.
    macs: left, as a share; time: milliseconds over the whole network's, one thread, by turns.
    """

    name: str
    repaired: bool
    agree: int
    photographs: int
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


def measure(crops: int, seed: int, command: str, progress: Callable[[str], None] = lambda line: None) -> Report:
    """Every method before and after repair.

    Args:
        crops: of each half of the photographs, to calibrate and repair with.

    Raises:
        CamfitError: a package is missing; says which.
    """
    whole = without_norms(photographs.network())
    halves = photographs.folds(photographs.paths(), crops, seed)
    pixels = Normalisation.from_mean_std(pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD, 255)
    engine = Engine(pack(whole, pixels).data)
    expected = [(engine.run(half.centres), engine.run(half.corners)) for half in halves]
    rows: list[Row] = []
    for name, method in _METHODS:
        found: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {False: [], True: []}
        sizes, times = [], []
        for half, other in (halves, halves[::-1]):
            inputs = to_tensor(other.random, pixels)
            samples = Samples(inputs, predict(whole, inputs, 32).argmax(1))
            pruned = _pruned(method(), whole, samples, seed)
            sizes.append(sum(macs(pruned).values()) / sum(macs(whole).values()))
            for repaired in (False, True):
                if repaired:
                    repair(pruned, whole, samples, seed, progress)
                small = Engine(pack(pruned, pixels).data)
                found[repaired].append((small.run(half.centres), small.run(half.corners)))
            times.append(_time(small, engine, half.centres[0]))
        for repaired, logits in found.items():
            told = photographs.row(name, {}, expected, logits)
            figures = {key: told[key] for key in ("agree", "photographs", "crops_agree", "crops", "decibels")}
            rows.append(
                Row(name, repaired, **figures, macs=float(np.mean(sizes)), time=float(np.mean(times)))
            )  # fmt: skip
            progress(f"{name}, repaired: {repaired}: {rows[-1].agree} of {rows[-1].photographs}")
    return Report(command, seed, crops, this_machine(), rows)


def without_norms(network: Network) -> Network:
    """The network with its batch-norms folded: crops of a few photographs must not move their statistics."""
    norms = foldable(network, tuple(network.weighted()))
    layers = {path: folded(network.layer(path), network.layer(norm)) for path, norm in norms.items()}  # type: ignore[arg-type]
    return apply(network, Plan("fold", replacements(network, layers, norms))).eval()


def repair(pruned: Network, whole: Network, samples: Samples, seed: int, progress: Callable[[str], None]) -> None:
    """Trains the pruned network in place towards the whole one's outputs; labels have no weight."""
    term = _SELF.term(Teacher(whole))
    train(
        pruned, samples, Samples(samples.inputs[:32], samples.targets[:32]), classification(), _REPAIR, terms=(term,),
        seed=seed, progress=progress, label="repair",
    )  # fmt: skip


def _pruned(method: Planner, whole: Network, samples: Samples, seed: int) -> Network:
    looked_at = Calibration(samples.inputs, samples.targets, seed).first(_LOOKED_AT)
    return apply(whole, method.plan(whole, looked_at)).eval()


def _time(small: Engine, whole: Engine, image: np.ndarray) -> float:
    of_small, of_whole = interleave([partial(engine.run, image) for engine in (small, whole)], seconds=0.5, rounds=8)
    return float(np.median(ratios(of_small, of_whole)))


def page(report: Report) -> str:
    """docs/results/photographs-pruned.md."""
    versions = ", ".join(f"{name} {version}" for name, version in report.machine.versions.items())
    best = max(report.rows, key=lambda row: (row.agree, row.crops_agree))
    plain = next(row for row in report.rows if not row.repaired)
    lines = [
        "# MobileNet v2 with 30 % less work",
        "",
        f"MobileNet v2 with public ImageNet weights, batch-norms folded, loses {100 * REMOVED:.0f} % of its",
        "multiply-accumulates without any label, every group of channels cut alike. Methods and repair see crops of",
        f"one half of the photographs ({report.crops} of each half) and are judged on the other half. *Top-1*: how",
        "often the middle crop is named as by the whole network; *crops*: the same for five crops of each photograph.",
        f"*Repaired*: distilled from the whole network ({_REPAIR}, T = {_SELF.temperature:g}). *Time*: over the whole",
        "network's, one thread, by turns. All of it runs packed, in the engine.",
        "",
        *table(
            ("method", "repaired", "top-1 as before", "crops", "signal to noise", "work left", "time"),
            (
                (
                    row.name,
                    "yes" if row.repaired else "no",
                    f"{percent(row.agree / row.photographs)} ({row.agree} of {row.photographs})",
                    f"{percent(row.crops_agree / row.crops)} of {row.crops}",
                    f"{row.decibels:.1f} dB",
                    percent(row.macs),
                    f"{row.time:.2f}",
                )
                for row in report.rows
            ),
        ),
        "",
        f"The best, {best.name}{', repaired' if best.repaired else ''}, keeps "
        f"{percent(best.agree / best.photographs)}; {plain.name} without repair keeps "
        f"{percent(plain.agree / plain.photographs)}.",
        "",
        f"Made by `{report.command}` (seed {report.seed}). {report.machine.processor}. Versions: {versions}.",
        "",
    ]
    return "\n".join(lines)
