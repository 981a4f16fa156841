"""Channels removed one after the other, the others' weights fitted again after each.

Hassibi and Stork's surgeon (NIPS 1992) on whole channels: under least squares with inputs' Gram matrix G, channel c
can go at the error ½ Σ_o w_ocᵀ ([G⁻¹]_cc)⁻¹ w_oc once the other weights have made up for it, and that correction needs
no new system to be solved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camfit.methods.pruning.reader_samples import Reader


def eliminated(found: list[Reader], ridge: float) -> tuple[Tensor, Tensor]:
    """The order in which channels go, and what each costs.

    Every step removes the channel that is cheapest for all readers together: squared error added to a reader's
    outputs, as a share of their power. A reader whose weights may not be fitted loses what the removed channels add
    up to.

    Args:
        found: readers of the same channels.
        ridge: pull of the weights towards the present ones, as a share of the inputs' mean power.

    Returns:
        (channels, the one to go first at the front; what each adds to the error), float64. The last channel adds
        what is left of the outputs.
    """
    sides = [(_Fitted if reader.free else _Fixed)(reader, ridge) for reader in found]
    count = found[0].inputs.shape[1]
    left = torch.ones(count, dtype=torch.bool)
    order, added = [], []
    for _ in range(count):
        prices = torch.stack([side.prices() for side in sides]).sum(0)
        chosen = int(torch.where(left, prices, torch.inf).argmin())
        for side in sides:
            side.remove(chosen)
        left[chosen] = False
        order.append(chosen)
        added.append(max(0.0, float(prices[chosen])))
    return torch.tensor(order), torch.tensor(added, dtype=torch.float64)


class _Fitted:
    """A reader whose other weights make up for what goes."""

    def __init__(self, reader: Reader, ridge: float) -> None:
        inputs, _ = reader.moments
        self._channels, self._taps = inputs.shape[:2]
        gram = inputs.flatten(2).flatten(0, 1).clone()
        gram.diagonal().add_(ridge * gram.diagonal().mean().clamp_min(1e-30))
        self._inverse = torch.linalg.inv(gram)
        self._weight = reader.weight.flatten(1).clone()
        self._power = reader.power or 1.0

    def prices(self) -> Tensor:
        """Error that each channel adds if it goes next [channels]."""
        blocks = self._inverse.reshape(self._channels, self._taps, self._channels, self._taps)
        own = blocks.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
        weight = self._weight.reshape(-1, self._channels, self._taps).permute(1, 2, 0)
        solved: Tensor = weight / own if self._taps == 1 else torch.linalg.solve(own, weight)
        return (weight * solved).sum((1, 2)) / self._power

    def remove(self, channel: int) -> None:
        """Takes the channel out: a step of Gaussian elimination on the inverse, and on the weights."""
        at = slice(channel * self._taps, (channel + 1) * self._taps)
        column = self._inverse[:, at].clone()
        spread = torch.linalg.solve(column[at], column.T)
        self._weight -= self._weight[:, at] @ spread
        self._inverse -= column @ spread
        # Rounding would leave a little; a channel that is gone has no part in what follows.
        self._weight[:, at] = 0
        self._inverse[:, at] = self._inverse[at] = 0
        self._inverse[at, at] = torch.eye(self._taps, dtype=self._inverse.dtype)


class _Fixed:
    """A reader whose weights stay."""

    def __init__(self, reader: Reader, ridge: float) -> None:
        self._gram = reader.added_gram()
        self._with_removed = torch.zeros(len(self._gram), dtype=self._gram.dtype)
        self._power = reader.power or 1.0

    def prices(self) -> Tensor:
        """As :meth:`_Fitted.prices`."""
        return (self._gram.diagonal() + 2 * self._with_removed) / self._power

    def remove(self, channel: int) -> None:
        """Takes the channel out."""
        self._with_removed += self._gram[channel]
