"""PR5 to PR9 and PR11: at half of the multiply-accumulates each criterion beats random channels, and time falls.

Also what is particular to two of them: Taylor's correlation with the oracle (PR5), and planted duplicates (PR11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.bench.interleave import interleave, ratios
from camfit.budget import highest
from camfit.cost import macs
from camfit.data import Dataset, load
from camfit.engine import Engine
from camfit.evaluate import Samples, evaluate
from camfit.forms import weight_of
from camfit.graph import Graph
from camfit.method import Calibration, Planner
from camfit.methods.pruning.geometric_median import GeometricMedian, distances
from camfit.methods.pruning.l1_filters import L1Filters, filter_sums
from camfit.methods.pruning.lasso_channels import LassoChannels
from camfit.methods.pruning.nisp import Nisp
from camfit.methods.pruning.oracle import correlations, oracle
from camfit.methods.pruning.taylor import Criterion, Taylor, scores
from camfit.methods.pruning.thinet import ThiNet
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import lenet5

_DATA = "mnist-5k"
TRAINING = Train(12, learning_rate=0.05, schedule="one-cycle")
TUNING = Train(2, learning_rate=0.01)
SHARE = 0.5
DRAWS = 5
_CRITERIA: tuple[Criterion, ...] = (
    "taylor", "weight", "activation-mean", "activation-std", "apoz", "mutual-information", "random"
)  # fmt: skip
SETTING = (
    f"LeNet-5 on {_DATA}, {TRAINING.epochs} epochs; every group loses the same share of its channels, half of the "
    f"multiply-accumulates in all; fine-tuned for {TUNING.epochs} epochs. Figures: test accuracy in percent, that of "
    f"random channels is the mean of {DRAWS} draws; time is the packed file's over the whole network's, by turns."
)


@lru_cache(maxsize=8)
def subject_of(seed: int, progress: Progress) -> Subject:
    """Trained once for all claims of a run."""
    return Subject(seed, progress)


@lru_cache(maxsize=8)
def chance(subject: Subject, tuning: Train = TUNING) -> tuple[float, float]:
    """Test accuracy in percent of random channels, before and after fine-tuning: the mean of the draws."""
    draws = [subject.pruned(Taylor(macs=SHARE, criterion="random"), draw) for draw in range(DRAWS)]
    before, after = np.mean([subject.accuracies(network, tuning) for network in draws], axis=0)
    return float(before), float(after)


class Subject:
    """The trained network and its data, for one seed."""

    def __init__(self, seed: int, progress: Progress) -> None:
        self.dataset: Dataset = load(_DATA, seed=seed)
        self.seed = seed
        self.task = classification()
        self.training, self.validation, self.test = (
            Samples.of(self.dataset, split) for split in (self.dataset.train, self.dataset.val, self.dataset.test)
        )
        torch.manual_seed(seed)
        self.network = trace(
            lenet5.build(self.dataset.input_shape, len(self.dataset.classes)), self.dataset.input_shape
        )
        train(self.network, self.training, self.validation, self.task, TRAINING, seed=seed, progress=progress)
        drawn = torch.randperm(len(self.training), generator=torch.Generator().manual_seed(seed))[:512]
        self.calibration = Calibration(self.training.inputs[drawn], self.training.targets[drawn], seed)

    def pruned(self, method: Planner, draw: int = 0) -> Network:
        """The network after the method; ``draw`` tells random ones apart."""
        seen = Calibration(self.calibration.inputs, self.calibration.targets, self.seed + 1000 * draw)
        return apply(self.network, method.plan(self.network, seen))

    def accuracies(self, network: Network, tuning: Train = TUNING) -> tuple[float, float]:
        """Test accuracy in percent before and after fine-tuning."""
        before = evaluate(network, self.test, self.task)
        tuned = network.clone()
        train(tuned, self.training, self.validation, self.task, tuning, seed=self.seed)
        return 100 * before, 100 * evaluate(tuned, self.test, self.task)


def against_chance(
    method: Callable[[], Planner], seed: int, folder: Path, progress: Progress, tuning: Train = TUNING
) -> Figures:
    """The method's figures and those of random channels, before and after equal fine-tuning."""
    subject = subject_of(seed, progress)
    ours = subject.pruned(method())
    before, after = subject.accuracies(ours, tuning)
    random_before, random_after = chance(subject, tuning)
    return {
        "whole": 100 * evaluate(subject.network, subject.test, subject.task),
        "before fine-tuning": before,
        "random, before": random_before,
        "after fine-tuning": after,
        "random, after": random_after,
        "multiply-accumulates": sum(macs(ours).values()) / sum(macs(subject.network).values()),
        "time": time_share(subject, ours),
    }


def time_share(subject: Subject, network: Network) -> float:
    """Milliseconds of an image on the engine over the whole network's, median of rounds by turns."""
    image = subject.dataset.test.images[0]
    engines = [Engine(pack(of, subject.dataset.normalisation).data) for of in (subject.network, network)]
    whole, pruned = interleave([partial(engine.run, image) for engine in engines], seconds=0.5)
    return float(np.median(ratios(pruned, whole)))


def beats_chance(measured: Sequence[Figures]) -> bool:
    """In the mean over the seeds, before and after fine-tuning, and faster in every seed."""

    def mean(name: str) -> float:
        return float(np.mean([figures[name] for figures in measured]))

    ahead = mean("before fine-tuning") > mean("random, before") and mean("after fine-tuning") > mean("random, after")
    return ahead and all(figures["time"] < 1 for figures in measured)


def _taylor(seed: int, folder: Path, progress: Progress) -> Figures:
    figures = dict(against_chance(lambda: Taylor(macs=SHARE), seed, folder, progress))
    subject = subject_of(seed, progress)
    groups = Graph.of(subject.network).groups
    truth = _unit({name: change.abs() for name, change in oracle(subject.network, groups, subject.calibration).items()})
    for criterion in _CRITERIA:
        ranked = scores(criterion, subject.network, groups, subject.calibration, len(subject.calibration.inputs))
        figures[f"correlation, {criterion}"] = correlations(_unit(ranked), truth)["all"]
    before, after = subject.accuracies(subject.pruned(Taylor(macs=SHARE, criterion="weight")))
    return figures | {"weight, before": before, "weight, after": after}


def _unit(by_group: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each layer's scores over their l2 norm, as they are compared."""
    return {name: values / values.norm().clamp(min=1e-30) for name, values in by_group.items()}


def _taylor_holds(measured: Sequence[Figures]) -> bool:
    def mean(name: str) -> float:
        return float(np.mean([figures[name] for figures in measured]))

    best = all(mean("correlation, taylor") > mean(f"correlation, {other}") for other in _CRITERIA[1:])
    ahead = mean("before fine-tuning") > mean("weight, before") and mean("after fine-tuning") > mean("weight, after")
    return best and ahead and beats_chance(measured)


def _duplicates(seed: int, folder: Path, progress: Progress) -> Figures:
    figures = dict(against_chance(lambda: GeometricMedian(macs=SHARE), seed, folder, progress))
    network = subject_of(seed, progress).network.clone()
    layer = network.layer("conv2")
    assert isinstance(layer, nn.Conv2d)
    planted = 10
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        largest = int(weight_of(layer).flatten(1).norm(dim=1).argmax())
        places = [place for place in range(layer.out_channels) if place != largest][:planted]
        noise = torch.randn(planted, *layer.weight.shape[1:], generator=generator)
        layer.weight[places] = layer.weight[largest] * (1 + 0.01 * noise)
    group = Graph.of(network).group("conv2")
    copies = {largest, *places}
    for name, values in (
        ("geometric median", distances(network, (group,))["conv2"]), ("L1 norm", filter_sums(network, group, {}))
    ):  # fmt: skip
        gone = set(range(len(group))) - set(highest(values, len(group) - planted))
        figures[f"copies among {planted} removed, {name}"] = float(len(gone & copies))
    return figures


def _duplicates_go(measured: Sequence[Figures]) -> bool:
    found = all(
        figures["copies among 10 removed, geometric median"] == 10 and figures["copies among 10 removed, L1 norm"] == 0
        for figures in measured
    )
    return found and beats_chance(measured)


EACH = (
    "At 50 % of the multiply-accumulates it beats random channels before and after equal fine-tuning, and time falls."
)


def plain(row: str, method: Callable[[], Planner]) -> Claim:
    """The claim that all structured methods make."""
    return Claim(row, EACH, SETTING, partial(against_chance, method), beats_chance)


CLAIMS = (
    Claim(
        "PR5", f"Taylor's rank correlation with the oracle is the highest, and it beats minimum weight. {EACH}",
        f"{SETTING} Correlations: Spearman's over all channels, 512 images.", _taylor, _taylor_holds,
    ),
    plain("PR6", lambda: L1Filters(macs=SHARE)),
    plain("PR7", lambda: ThiNet(macs=SHARE)),
    plain("PR8", lambda: LassoChannels(macs=SHARE)),
    plain("PR9", lambda: Nisp(macs=SHARE)),
    Claim(
        "PR11", f"On a layer with near-duplicate filters it removes duplicates where norm criteria do not. {EACH}",
        f"{SETTING} Ten filters of conv2 are made copies of its largest, with 1 % of noise.",
        _duplicates, _duplicates_go,
    ),
)  # fmt: skip
