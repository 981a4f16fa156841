"""A weight under a mask: pruned entries are exactly zero and stay so while the others train."""

from __future__ import annotations

import torch
from torch import Tensor

from camfit.forms.base import Form


class Masked(Form):
    """weight = stored · mask.

    Args:
        mask: bool, the weight's shape; False entries are pruned.
    """

    name = "masked"
    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(torch.bool).clone())

    def forward(self, stored: Tensor) -> Tensor:
        return stored * self.mask

    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        form = Masked(self.mask.index_select(dim, index))
        form.origin = self.origin
        return form, stored.index_select(dim, index)

    def zeros(self) -> Tensor | None:
        return ~self.mask

    def pruned(self, mask: Tensor, stored: Tensor) -> tuple[Form, Tensor] | None:
        return Masked(self.mask & mask), stored

    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        """On a masked weight the two masks join; on a codebook the newly pruned entries lose their index."""
        if earlier is None:
            return self, stored
        joined = earlier.pruned(self.mask, stored)
        if joined is None:
            raise self.refuse(earlier, f"a {earlier.name} weight has no zeros to store")
        joined[0].origin = self.origin
        return joined
