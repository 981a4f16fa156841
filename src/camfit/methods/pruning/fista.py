"""FISTA: proximal gradient steps with momentum on a smooth loss + λ·‖x‖₁.

Beck, Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems, SIAM Journal on Imaging
Sciences 2, 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

_HALVINGS = 30
# Of a loss in float32.
_SLACK = 1e-5


def soft_threshold(values: Tensor, amount: Tensor | float) -> Tensor:
    """sign(v)·max(|v| − amount, 0): the proximal step of amount·‖v‖₁."""
    return values.sign() * (values.abs() - amount).clamp_min(0)


class Fista:
    """Iterates x_k, and the points y_k between them at which gradients are taken.

    x_k = soft(y_k − η·∇f(y_k), η·λ), t_{k+1} = (1 + √(1 + 4·t_k²)) / 2,
    y_{k+1} = x_k + (t_k − 1)/t_{k+1}·(x_k − x_{k−1}).

    Where momentum leads uphill it is forgotten (O'Donoghue, Candès, Adaptive Restart for Accelerated Gradient Schemes,
    Foundations of Computational Mathematics 15, 2015).

    Args:
        start: x_0 = y_1.
        step: η, one for all or one for each; it is halved (all of it) where the paper's condition for its length fails.

    Attributes:
        values: x_k, with exact zeros.
        point: y_{k+1}.
        t: t_{k+1}.
    """

    def __init__(self, start: Tensor, step: Tensor | float) -> None:
        self.values, self.point, self.t = start.clone(), start.clone(), 1.0
        self._step = step

    def restart(self, values: Tensor) -> None:
        """Goes on from these values without momentum: the next step is a plain proximal one."""
        self.values, self.point, self.t = values.clone(), values.clone(), 1.0

    def advance(
        self,
        value: float,
        slope: Tensor,
        smooth: Callable[[Tensor], float],
        weight: Tensor | float,
    ) -> None:
        """One step, as long as f allows: f(x) ≤ f(y) + ⟨x − y, ∇f(y)⟩ + ‖x − y‖²/(2·η).

        Args:
            value: f(y), the smooth loss at ``point``.
            slope: ∇f(y).
            smooth: f.
            weight: λ, one for all or one for each.
        """
        for _ in range(_HALVINGS):
            stepped = soft_threshold(self.point - self._step * slope, self._step * weight)
            move = stepped - self.point
            allowed = value + float((move * slope + move.square() / (2 * self._step)).sum())
            if smooth(stepped) <= allowed + _SLACK * abs(value):
                break
            self._step = self._step / 2
        if float(((self.point - stepped) * (stepped - self.values)).sum()) > 0:
            self.restart(stepped)
            return
        following = (1 + math.sqrt(1 + 4 * self.t**2)) / 2
        self.point = stepped + (self.t - 1) / following * (stepped - self.values)
        self.values, self.t = stepped, following
