"""Weight sharing: every weight is an index into a small codebook, or pruned. Han, Mao, Dally, ICLR 2016 (QZ2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camfit.errors import PlanError
from camfit.forms.base import Form


class _Share(torch.autograd.Function):
    """Looks centroids up; the gradient of a centroid is the sum over the weights that share it (the paper's eq. 3)."""

    @staticmethod
    def forward(ctx: Any, centroids: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.entries = centroids.numel()
        table = torch.cat([centroids.new_zeros(1), centroids])
        return table.index_select(0, (index + 1).reshape(-1)).reshape(index.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        sums = torch.bincount((index + 1).reshape(-1), weights=gradient.reshape(-1), minlength=ctx.entries + 1)
        return sums[1:].to(gradient.dtype), None


class Codebook(Form):
    """weight = centroids[index], or 0 where index is -1; the stored tensor is the centroids [entries].

    Args:
        index: integers of the weight's shape; -1 marks a pruned weight.
        entries: codebook size, 1 to 65,536.

    Raises:
        PlanError: an index outside -1 .. entries - 1, or a codebook too large to store.
    """

    name = "codebook"
    index: Tensor

    def __init__(self, index: Tensor, entries: int) -> None:
        super().__init__()
        low, high = int(index.min()), int(index.max())
        if low < -1 or high >= entries or not 1 <= entries <= 65536:
            raise PlanError(
                f"codebook of {entries} entries with indices {low} to {high}: expected 1 to 65536 entries "
                "and indices from -1 to entries - 1"
            )
        self.entries = entries
        self.register_buffer("index", index.to(torch.int32).clone())

    def forward(self, stored: Tensor) -> Tensor:
        return _Share.apply(stored, self.index)  # type: ignore[no-any-return, no-untyped-call]

    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        form = Codebook(self.index.index_select(dim, index), self.entries)
        form.origin = self.origin
        return form, stored

    def zeros(self) -> Tensor | None:
        return self.index < 0

    def pruned(self, mask: Tensor, stored: Tensor) -> tuple[Form, Tensor] | None:
        return Codebook(torch.where(mask, self.index, torch.full_like(self.index, -1)), self.entries), stored

    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        """Follows a dense, masked or shared weight; entries pruned before stay pruned."""
        if earlier is None:
            return self, stored
        zeros = None if earlier.name == "integer" else earlier.zeros()
        if zeros is None:
            raise self.refuse(
                earlier, f"the {earlier.name} weight already shares its values in a way that a codebook would lose"
            )
        revived = int((self.index[zeros] >= 0).sum())
        if revived:
            raise self.refuse(earlier, f"it would revive {revived} pruned weights")
        return self, stored

    def settings(self) -> dict[str, int | float | str]:
        return {"entries": self.entries}
