"""Binary weights with one scale per filter: W ≈ α·sign(W), α = mean|W|. Rastegari et al., ECCV 2016 (BN3, BN4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camfit.forms.base import Form


def sign(x: Tensor) -> Tensor:
    """±1 with sign(0) = +1, as the engine has it."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class _ScaledSign(torch.autograd.Function):
    """W̃ = α·sign(W); ∂C/∂W = ∂C/∂W̃ · (1/n + α·1_{|W|≤1}), the gradient of the paper's section 3.1."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        dims = tuple(range(1, weight.dim()))
        alpha = weight.abs().mean(dims, keepdim=True)
        ctx.save_for_backward(weight, alpha)
        return alpha * sign(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        weight: Tensor = ctx.saved_tensors[0]
        alpha: Tensor = ctx.saved_tensors[1]
        n = weight[0].numel()
        return gradient * (1.0 / n + alpha * (weight.abs() <= 1).to(weight.dtype))


class Sign(Form):
    """weight = α·sign(stored), α the mean magnitude of each output filter; stored is the latent real weight."""

    name = "sign"

    def forward(self, stored: Tensor) -> Tensor:
        return _ScaledSign.apply(stored)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def settle(self, stored: Tensor) -> None:
        """Clips the latent weights to [-1, 1]: beyond, the straight-through gradient is zero and they would drift."""
        stored.clamp_(-1, 1)

    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        form = Sign()
        form.origin = self.origin
        return form, stored.index_select(dim, index)

    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        if earlier is None or isinstance(earlier, Sign):
            return self, stored
        raise self.refuse(earlier, f"a sign has no zero and no third value, so the {earlier.name} form would be lost")
