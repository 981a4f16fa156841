"""Losses at intermediate layers: batch-norm, ReLU, average pooling and a soft-max classifier on a layer's output.

Zhuang et al., NeurIPS 2018, section 3.2. They are functions beside the network: it never holds a layer of theirs, so
nothing has to be taken off again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.method import Calibration
from camfit.network import Network

_STEPS, _RATE, _DECAY = 100, 0.05, 1e-3


@dataclass(frozen=True, eq=False)
class ExtraLoss:
    """One loss: a classifier on the node ``value``.

    Attributes:
        value: the node whose value it reads.
        mean, deviation: of each channel over the calibration images (batch-norm without scale and shift).
        weight: of the classifier [classes, channels].
        bias: likewise [classes].
    """

    value: str
    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def outputs(self, value: Tensor) -> Tensor:
        """Logits [N, classes] of the node's value [N, channels, ...]."""
        return _pooled(value, self.mean, self.deviation) @ self.weight.T + self.bias


def depths(network: Network, losses: int) -> tuple[str, ...]:
    """The calls of weighted layers that carry the losses, evenly spaced, in execution order.

    Neither the first layer's (no channels are chosen in front of it) nor the last one's (it has the network's own
    loss): a shallow network gets fewer losses.
    """
    calls = [node.name for node in network.nodes if node.layer in network.weighted()]
    at = sorted({round(len(calls) * number / (losses + 1)) for number in range(1, losses + 1)})
    return tuple(calls[place - 1] for place in at if 1 < place < len(calls))


@torch.no_grad()
def fitted_losses(network: Network, calibration: Calibration, losses: int) -> tuple[ExtraLoss, ...]:
    """The losses of a network that stays as it is, their classifiers fitted to the calibration images.

    A network whose output is no vector has no classes, and gets none.
    """
    values = network.values(calibration.inputs)
    outputs = values[network.nodes[-1].name]
    if outputs.dim() != 2:
        return ()
    return tuple(_fitted(name, values[name], outputs.shape[1], calibration) for name in depths(network, losses))


def _fitted(name: str, value: Tensor, classes: int, calibration: Calibration) -> ExtraLoss:
    over = [dimension for dimension in range(value.dim()) if dimension != 1]
    mean, deviation = value.mean(over), (value.var(over, correction=0) + 1e-5).sqrt()
    features = _pooled(value, mean, deviation)
    with torch.enable_grad():
        weight = features.new_zeros(classes, features.shape[1]).requires_grad_()
        bias = features.new_zeros(classes).requires_grad_()
        optimizer = torch.optim.Adam([weight, bias], lr=_RATE, weight_decay=_DECAY)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            calibration.loss(features @ weight.T + bias, calibration.targets).backward()
            optimizer.step()
    return ExtraLoss(name, mean, deviation, weight.detach(), bias.detach())


def _pooled(value: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """[N, channels]: normalised, rectified, averaged over the pixels."""
    shape = (-1, *[1] * (value.dim() - 2))
    normal = (value - mean.reshape(shape)) / deviation.reshape(shape)
    return normal.relu().reshape(*value.shape[:2], -1).mean(2)
