"""PR4: at each of three scales the engine is faster, and the particle filter's pattern beats random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.bench.claims.structured import DRAWS, subject_of, time_share
from camfit.evaluate import evaluate
from camfit.methods.pruning.structured_sparsity import StructuredSparsity

_SCALES = (
    StructuredSparsity("feature-map", 0.5, particles=32, rounds=10),
    StructuredSparsity("kernel", 0.7, particles=32, rounds=10),
    StructuredSparsity("intra-kernel", 1.0, stride=3, particles=32, rounds=10),
)
_SETTING = (
    "LeNet-5, data, training and fine-tuning as for PR5. Half of the feature maps go, 70 % of the kernels, or all but "
    "every third weight of each kernel. Figures: test accuracy in percent, that of random patterns of the same share "
    f"is the mean of {DRAWS} draws; time is the packed file's over the whole network's, by turns."
)


def _measure(seed: int, folder: Path, progress: Progress) -> Figures:
    subject = subject_of(seed, progress)
    figures = {"whole": 100 * evaluate(subject.network, subject.test, subject.task)}
    for options in _SCALES:
        progress(f"PR4, seed {seed}: {options.scale}")
        ours = subject.pruned(options)
        chance = [subject.pruned(replace(options, rounds=0), draw) for draw in range(DRAWS)]
        before, after = subject.accuracies(ours)
        others = np.mean([subject.accuracies(network) for network in chance], axis=0)
        figures |= {
            f"{options.scale}, before fine-tuning": before,
            f"{options.scale}, random, before": float(others[0]),
            f"{options.scale}, after fine-tuning": after,
            f"{options.scale}, random, after": float(others[1]),
            f"{options.scale}, time": time_share(subject, ours),
        }
    return figures


def _holds(measured: Sequence[Figures]) -> bool:
    """At every scale: ahead of chance in the mean over the seeds, before and after, and faster in every seed."""

    def mean(name: str) -> float:
        return float(np.mean([figures[name] for figures in measured]))

    return all(
        mean(f"{scale}, before fine-tuning") > mean(f"{scale}, random, before")
        and mean(f"{scale}, after fine-tuning") > mean(f"{scale}, random, after")
        and all(figures[f"{scale}, time"] < 1 for figures in measured)
        for scale in (options.scale for options in _SCALES)
    )


CLAIMS = (
    Claim(
        "PR4",
        "Each of three scales of structured sparsity is measured faster, and the particle filter's pattern beats random"
        " ones of the same share, before and after equal fine-tuning.",
        _SETTING, _measure, _holds,
    ),
)  # fmt: skip
