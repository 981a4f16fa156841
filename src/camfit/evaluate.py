"""A split as tensors, and what a network makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.data import Dataset, Split, to_tensor
from camfit.network import Network
from camfit.tasks import Task

# Numbers that the largest value of one batch may have: 500 images of 224 x 224 would take gigabytes.
_NUMBERS = 1 << 24


@dataclass(frozen=True)
class Samples:
    """A split ready for training: normalised inputs [N, C, H, W] and labels [N]."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> Samples:
        """The split's images under the data set's normalisation."""
        return cls(to_tensor(split.images, dataset.normalisation), torch.from_numpy(split.labels))

    def __len__(self) -> int:
        return len(self.targets)


@torch.no_grad()
def predict(network: Network, inputs: Tensor, batch: int = 500) -> Tensor:
    """Outputs of the network in evaluation mode, so many images at a time, fewer where their values are large."""
    was_training = network.training
    largest = max(math.prod(shape) for shape in network.shapes().values())
    batch = max(1, min(batch, _NUMBERS // largest))
    network.eval()
    outputs = torch.cat([network(part) for part in inputs.split(batch)])
    network.train(was_training)
    return outputs


def evaluate(network: Network, samples: Samples, task: Task) -> float:
    """The task's metric on samples, in evaluation mode."""
    return float(task.metric(predict(network, samples.inputs), samples.targets))
