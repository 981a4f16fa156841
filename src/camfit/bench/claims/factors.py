"""PR13: factors beat random channels at equal work, and ranks by VBMF, trained on, lose little.

The catalogue leaves this row's claim open; the second half is that of Kim, Park, Yoo, Choi, Yang, Shin, ICLR 2016,
whose whole-network Tucker factors lost 1.7 (AlexNet) and 0.5 (VGG-16) points after fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.bench.claims.structured import (
    EACH,
    SETTING,
    SHARE,
    TUNING,
    against_chance,
    beats_chance,
    subject_of,
    time_share,
)
from camfit.cost import macs
from camfit.methods.pruning.low_rank import LowRank

_LITTLE = 1.0  # points of accuracy
_TUNING = msgspec.structs.replace(TUNING, clip=1.0)  # a chain's gradients are products over its factors


def _measure(seed: int, folder: Path, progress: Progress) -> Figures:
    figures = dict(against_chance(lambda: LowRank(rank="budget", macs=SHARE), seed, folder, progress, _TUNING))
    subject = subject_of(seed, progress)
    factorised = subject.pruned(LowRank(rank="vbmf", reconstruct=True))
    before, after = subject.accuracies(factorised, _TUNING)
    return figures | {
        "VBMF, before fine-tuning": before,
        "VBMF, after fine-tuning": after,
        "VBMF, multiply-accumulates": sum(macs(factorised).values()) / sum(macs(subject.network).values()),
        "VBMF, time": time_share(subject, factorised),
    }


def _holds(measured: Sequence[Figures]) -> bool:
    """VBMF's loss in the mean over the seeds; it must remove work in every seed."""
    lost = np.mean([figures["whole"] - figures["VBMF, after fine-tuning"] for figures in measured])
    less = all(figures["VBMF, multiply-accumulates"] < 1 for figures in measured)
    return bool(lost <= _LITTLE) and less and beats_chance(measured)


CLAIMS = (
    Claim(
        "PR13", f"{EACH} With ranks by VBMF the network, trained on, loses at most {_LITTLE:g} point.",
        f"{SETTING} Tucker factors of convolutions, two by singular values of linear layers, refitted to the layer's "
        "outputs where VBMF gives the ranks. All fine-tuning, that of random channels too, with gradients clipped to "
        "norm 1.",
        _measure, _holds,
    ),
)  # fmt: skip
