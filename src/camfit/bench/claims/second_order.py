"""PR1 and PR2: at equal sparsity and without retraining, the loss rises least by the surgeon, then by damage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from camfit.bench import loss_rise
from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.data import load
from camfit.train import Train

_DATA = "mnist-5k"
_TRAINING = Train(30, learning_rate=0.05, weight_decay=2e-4, schedule="one-cycle")
_SPARSITIES = (0.5, 0.7, 0.8, 0.9)
_SETTING = (
    f"LeNet-300-100 on {_DATA}, {_TRAINING.epochs} epochs; 512 calibration images of the training split. Figures: rise "
    "of the mean training loss at a share of zeros, shared over the layers by one ranking."
)


@lru_cache(maxsize=8)
def _rises(seed: int, progress: Progress) -> Figures:
    """Measured once for both claims of a run."""
    dataset = load(_DATA, seed=seed)
    network = loss_rise.lenet(dataset, _TRAINING, seed)
    rows = loss_rise.rises(network, dataset, seed, _SPARSITIES, ("global",), progress=progress)
    return {f"{row.method}, {row.sparsity:.0%} zeros": row.training for row in rows}


def _measure(seed: int, folder: Path, progress: Progress) -> Figures:
    return _rises(seed, progress)


def _below(lower: str, higher: str, measured: Sequence[Figures]) -> bool:
    """The one's loss rises less than the other's, at every sparsity and in every seed."""
    return all(
        figures[name] < figures[name.replace(lower, higher)]
        for figures in measured
        for name in figures
        if name.startswith(lower)
    )


CLAIMS = (
    Claim(
        "PR1", "Without retraining, at equal sparsity, the loss rises less by optimal brain damage than by magnitude.",
        _SETTING, _measure, lambda measured: _below("optimal-brain-damage", "magnitude", measured),
    ),
    Claim(
        "PR2", "Without retraining, at equal sparsity, the loss rises less by optimal brain surgeon than by damage.",
        _SETTING, _measure, lambda measured: _below("optimal-brain-surgeon", "optimal-brain-damage", measured),
    ),
)  # fmt: skip
