"""Classification: one label an image, cross entropy, accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from camfit.errors import DataError
from camfit.tasks.task import Task


def classification() -> Task:
    """The task of naming an image's class from logits [N, classes] and labels [N]."""
    return Task(name="classification", metric_name="accuracy", loss=cross_entropy, metric=accuracy)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy in nats of logits [N, classes] against labels [N], int64.

    Raises DataError if the shapes do not match or a label names no class.
    """
    _check(tuple(logits.shape), tuple(labels.shape))
    try:
        return functional.cross_entropy(logits, labels)
    except IndexError as error:  # torch's own message does not say which label
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; expected 0..{logits.shape[1] - 1}, "
            "the network's outputs"
        ) from error


def accuracy(logits: torch.Tensor | np.ndarray, labels: torch.Tensor | np.ndarray) -> float:
    """Share in [0, 1] of images whose highest logit is at the label; of equal logits the first counts.

    logits: [N, classes], labels: [N]. An image with a logit that is not a number counts as wrong.
    Raises DataError if the shapes do not match or there is no image.
    """
    scores = logits.detach().cpu().numpy() if isinstance(logits, torch.Tensor) else np.asarray(logits)
    truth = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    _check(scores.shape, truth.shape)
    if not len(truth):
        raise DataError("accuracy of no images; expected at least one")
    right = (scores.argmax(axis=1) == truth) & ~np.isnan(scores).any(axis=1)
    return float(right.mean())


def _check(logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
    if len(logits) != 2 or labels != logits[:1]:
        raise DataError(f"outputs {list(logits)} and labels {list(labels)}; expected [N, classes] and [N]")
