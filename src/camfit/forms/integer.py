"""Integer weights with one scale per output channel, trained straight-through. Jacob et al., CVPR 2018 (NP4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camfit.errors import PlanError
from camfit.forms.base import Form


class _Round(torch.autograd.Function):
    """scale·clamp(⌊w/scale + ½⌋, ±limit); the gradient passes where nothing was clamped."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, limit: int) -> Tensor:
        rounded = torch.floor(weight / scale + 0.5)
        ctx.save_for_backward(rounded.abs() <= limit)
        return scale * rounded.clamp(-limit, limit)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        inside: Tensor = ctx.saved_tensors[0]
        return gradient * inside.to(gradient.dtype), None, None


class Integer(Form):
    """weight = scale·q, q = clamp(⌊stored/scale + ½⌋, −L, L), L = 2^(bits−1) − 1; stored is the latent real weight.

    Args:
        scale: of each output channel [cout], above 0; equal values are one scale for the tensor.
        bits: 2 to 8.
        mask: bool, the weight's shape: True = kept. None: every entry is stored.

    Raises:
        PlanError: bits or a scale out of range.
    """

    name = "integer"
    scale: Tensor
    mask: Tensor | None

    def __init__(self, scale: Tensor, bits: int = 8, mask: Tensor | None = None) -> None:
        super().__init__()
        if not 2 <= bits <= 8:
            raise PlanError(f"integer weight of {bits} bits: expected 2 to 8")
        if scale.dim() != 1 or not bool((scale > 0).all()) or not bool(scale.isfinite().all()):
            raise PlanError(f"integer weight: scales of shape {list(scale.shape)}: expected a vector of values above 0")
        self.bits = bits
        self.register_buffer("scale", scale.detach().to(torch.float32).clone())
        self.register_buffer("mask", None if mask is None else mask.to(torch.bool).clone())

    @property
    def limit(self) -> int:
        """The largest integer."""
        return int(2 ** (self.bits - 1)) - 1

    def forward(self, stored: Tensor) -> Tensor:
        weight: Tensor = _Round.apply(stored, self._along(stored), self.limit)  # type: ignore[no-untyped-call]
        return weight if self.mask is None else weight * self.mask

    @torch.no_grad()
    def integers(self, stored: Tensor) -> Tensor:
        """q, int8, the weight's shape; 0 where pruned."""
        q = torch.floor(stored / self._along(stored) + 0.5).clamp(-self.limit, self.limit)
        return (q if self.mask is None else q * self.mask).to(torch.int8)

    def _along(self, stored: Tensor) -> Tensor:
        return self.scale.to(stored.dtype).reshape(-1, *[1] * (stored.dim() - 1))

    @torch.no_grad()
    def settle(self, stored: Tensor) -> None:
        """Clips the latent weights to what an integer can reach: beyond, no gradient would bring them back."""
        reach = self._along(stored) * self.limit
        stored.copy_(torch.minimum(torch.maximum(stored, -reach), reach))

    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        scale = self.scale.index_select(0, index) if dim == 0 else self.scale
        form = Integer(scale, self.bits, None if self.mask is None else self.mask.index_select(dim, index))
        form.origin = self.origin
        return form, stored.index_select(dim, index)

    def zeros(self) -> Tensor | None:
        return None if self.mask is None else ~self.mask

    def pruned(self, mask: Tensor, stored: Tensor) -> tuple[Form, Tensor] | None:
        return Integer(self.scale, self.bits, mask if self.mask is None else self.mask & mask), stored

    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        """Follows a dense, masked or integer weight; entries pruned before stay pruned."""
        if earlier is None:
            return self, stored
        if earlier.name not in ("masked", self.name):
            raise self.refuse(earlier, f"rounding would move the values that the {earlier.name} weight shares")
        zeros = earlier.zeros()
        if zeros is None:
            return self, stored
        form = Integer(self.scale, self.bits, ~zeros if self.mask is None else self.mask & ~zeros)
        form.origin = self.origin
        return form, stored

    def settings(self) -> dict[str, int | float | str]:
        return {"bits": self.bits}
