"""How much loss pruning adds before any retraining: magnitude, optimal brain damage, optimal brain surgeon (PR1, PR2).

The papers' claim is that at equal sparsity the surgeon's loss rises least, then damage's, then magnitude's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from camfit.data import Dataset
from camfit.evaluate import Samples, evaluate, predict
from camfit.method import Calibration, Planner
from camfit.methods.pruning.magnitude import Magnitude, density
from camfit.methods.pruning.optimal_brain_damage import OptimalBrainDamage
from camfit.methods.pruning.optimal_brain_surgeon import OptimalBrainSurgeon
from camfit.methods.pruning.weight_budget import Allocation
from camfit.network import Network
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import lenet_300_100


@dataclass(frozen=True)
class Rise:
    """One pruned network beside the trained one it comes from.

    Attributes:
        sparsity: fraction of the weights that are zero, counted.
        training: rise of the mean cross-entropy on the training split, which the methods foresee.
        validation: the same on the validation split.
        accuracy: on the validation split, after pruning.
        accuracy_before: the same before.
    """

    method: str
    allocation: Allocation
    seed: int
    sparsity: float
    training: float
    validation: float
    accuracy: float
    accuracy_before: float


def lenet(dataset: Dataset, training: Train, seed: int) -> Network:
    """LeNet-300-100 trained on a data set."""
    torch.manual_seed(seed)
    network = trace(lenet_300_100.build(dataset.input_shape, len(dataset.classes)), dataset.input_shape)
    samples, held = Samples.of(dataset, dataset.train), Samples.of(dataset, dataset.val)
    train(network, samples, held, classification(), training, seed=seed)
    return network


def rises(
    network: Network,
    dataset: Dataset,
    seed: int,
    sparsities: Iterable[float],
    allocations: Iterable[Allocation] = ("global", "uniform"),
    images: int = 512,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Rise]:
    """Prunes a trained network by each method at each sparsity; nothing is retrained.

    Args:
        seed: draws the calibration images from the training split.
        images: calibration images of the two second-order methods.
    """
    samples, held = Samples.of(dataset, dataset.train), Samples.of(dataset, dataset.val)
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:images]
    calibration = Calibration(samples.inputs[chosen], samples.targets[chosen], seed)
    task = classification()
    before = _loss(network, samples), _loss(network, held), evaluate(network, held, task)
    found: list[Rise] = []
    for sparsity in sparsities:
        for allocation in allocations:
            for name, method in _methods(sparsity, allocation).items():
                pruned = apply(network, method.plan(network, calibration))
                found.append(
                    Rise(
                        name,
                        allocation,
                        seed,
                        1 - density(pruned),
                        _loss(pruned, samples) - before[0],
                        _loss(pruned, held) - before[1],
                        evaluate(pruned, held, task),
                        before[2],
                    )
                )
                progress(f"{name}, {allocation}, seed {seed}, {sparsity:.0%} zeros: {found[-1].training:+.4f}")
    return found


def holds(rows: Iterable[Rise], lower: str, higher: str) -> tuple[int, int]:
    """(cases in which ``lower`` raised the training loss less than ``higher``, all cases): one a seed and sparsity."""

    def losses(method: str) -> dict[tuple[str, int, float], float]:
        return {(r.allocation, r.seed, round(r.sparsity, 3)): r.training for r in rows if r.method == method}

    rows = tuple(rows)
    less, more = losses(lower), losses(higher)
    return sum(less[case] < more[case] for case in less), len(less)


def _methods(sparsity: float, allocation: Allocation) -> dict[str, Planner]:
    return {
        "magnitude": Magnitude(sparsity=sparsity, allocation=allocation),
        "optimal-brain-damage": OptimalBrainDamage(sparsity=sparsity, allocation=allocation),
        "optimal-brain-surgeon": OptimalBrainSurgeon(sparsity=sparsity, allocation=allocation),
    }


def _loss(network: Network, samples: Samples) -> float:
    return float(F.cross_entropy(predict(network, samples.inputs), samples.targets))
