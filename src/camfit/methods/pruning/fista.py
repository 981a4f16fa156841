"""FISTA: proximal gradient steps with momentum on a smooth loss + λ·‖x‖₁.

Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems, SIAM Journal on Imaging
Sciences 2, 2009.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def soft_threshold(values: Tensor, amount: Tensor | float) -> Tensor:
    """sign(v)·max(|v| − amount, 0): the proximal step of amount·‖v‖₁."""
    return values.sign() * (values.abs() - amount).clamp_min(0)


class Fista:
    """Iterates x_k, and the points y_k between them at which gradients are taken.

    x_k = soft(y_k − η·∇(y_k), η·λ), t_{k+1} = (1 + √(1 + 4·t_k²)) / 2,
    y_{k+1} = x_k + (t_k − 1)/t_{k+1}·(x_k − x_{k−1}).

    Args:
        start: x_0 = y_1.
        step: η, one for all or one for each.

    Attributes:
        values: x_k, with exact zeros.
        point: y_{k+1}.
        t: t_{k+1}.
    """

    def __init__(self, start: Tensor, step: Tensor | float) -> None:
        self.values, self.point, self.t = start.clone(), start.clone(), 1.0
        self._step = step

    def restart(self) -> None:
        """Forgets the momentum: the next step is a plain proximal one."""
        self.point, self.t = self.values.clone(), 1.0

    def advance(self, slope: Tensor, weight: Tensor | float, alive: Tensor) -> None:
        """One step.

        Args:
            slope: the smooth loss's gradient at ``point``.
            weight: λ, one for all or one for each.
            alive: bool; the others are zero and stay so.
        """
        stepped = soft_threshold(self.point - self._step * slope, self._step * weight)
        stepped = torch.where(alive, stepped, 0.0)
        following = (1 + math.sqrt(1 + 4 * self.t**2)) / 2
        self.point = stepped + (self.t - 1) / following * (stepped - self.values)
        self.values, self.t = stepped, following
