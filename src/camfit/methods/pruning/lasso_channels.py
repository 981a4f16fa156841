"""Channel pruning by LASSO. He, Zhang, Sun, Channel Pruning for Accelerating Very Deep Networks, ICCV 2017 (PR8)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path_gram
from torch import Tensor

from camfit.budget import highest
from camfit.errors import RecipeError
from camfit.method import Calibration, Entry
from camfit.methods.pruning.backward_elimination import eliminated
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.reader_samples import Reader
from camfit.methods.pruning.reconstruction import Rebuilt, plan_reconstructing
from camfit.network import Network
from camfit.plan import Plan


@dataclass(frozen=True)
class LassoChannels(ChannelBudget):
    """Chooses channels by LASSO on what they add to the next layer, then fits that layer's weights anew.

    min ½‖Y − Σ β_c X_c W_cᵀ‖² + λ‖β‖₁: λ falls from where no channel is in until as many are as shall stay (the whole
    path at once, by least angle regression). Then W is the least-squares solution on the channels that stay (the
    paper's eq. 2 and 3). Y is the output in the whole network and X is read in the network cut so far; in front of a
    residual sum Y also makes up for what the other side has lost (section 3.3). Where the layer has a bias it is fitted
    too.

    Attributes:
        selection: ``lasso``: as above. ``backward``: channels go one after the other, always the one whose loss the
            others, fitted anew, make up for best; of the same problem with ‖β‖₀ for ‖β‖₁.
        images: calibration images to sample, at most.
        locations: output pixels of each image.
        ridge: pull of the new weights towards the old ones, as a share of the inputs' mean power.
    """

    NAME: ClassVar[str] = "lasso-channels"

    selection: Literal["lasso", "backward"] = "lasso"
    images: int = 256
    locations: int = 10
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection not in ("lasso", "backward"):
            raise RecipeError(f"lasso-channels: selection is {self.selection!r}, expected 'lasso' or 'backward'")
        for name, value in (("images", self.images), ("locations", self.locations)):
            if value < 1:
                raise RecipeError(f"lasso-channels: {name} is {value}, expected 1 or more")
        if not (self.ridge > 0 and math.isfinite(self.ridge)):
            raise RecipeError(f"lasso-channels: ridge is {self.ridge}, expected above 0")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group, and the new weights of the layers that read them.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        few = calibration.first(self.images)
        backward = self.selection == "backward"

        def score(found: list[Reader]) -> Tensor:
            return added_errors(found, self.ridge) if backward else entries(found)

        def choose(found: list[Reader], count: int) -> tuple[int, ...]:
            return highest(added_errors(found, self.ridge), count) if backward else select(found, count)

        why = "backward elimination" if backward else "LASSO"
        return plan_reconstructing(
            self, network, few, self.locations, score, choose, lambda reader, kept: refitted(reader, kept, self.ridge),
            f"{why} on what they add to the next layers", original_targets=True, comparable=backward,
        )  # fmt: skip


def added_errors(found: list[Reader], ridge: float) -> Tensor:
    """What each channel adds to the readers' errors at its turn to go, never below one that goes before [channels]."""
    order, added = eliminated(found, ridge)
    errors = torch.empty_like(added)
    # A little more for each: channels whose errors are equal keep their order.
    errors[order] = added.cummax(0).values * (1 + 1e-9 * torch.arange(len(added), dtype=torch.float64))
    return errors


def path(found: list[Reader]) -> tuple[Tensor, Tensor]:
    """(the λ of each point of the path, falling; β [channels, points])."""
    channels = found[0].inputs.shape[1]
    gram = torch.stack([reader.added_gram() for reader in found]).sum(0)
    wanted = torch.stack([torch.einsum("cto,oct->c", reader.moments[1], reader.weight) for reader in found]).sum(0)
    # Channels of very different power: the path stays well-conditioned in units of the mean.
    unit = float(gram.diagonal().mean().clamp_min(1e-30))
    with warnings.catch_warnings():
        # The path ends early where what is left to explain drowns in rounding; those not in by then enter last.
        warnings.simplefilter("ignore", ConvergenceWarning)
        alphas, _, betas = lars_path_gram(
            (wanted / unit).numpy(), (gram / unit).numpy(), n_samples=1, max_iter=8 * channels, method="lasso"
        )
    return torch.from_numpy(np.ascontiguousarray(alphas)), torch.from_numpy(np.ascontiguousarray(betas))


def entries(found: list[Reader]) -> Tensor:
    """The λ at which each channel first enters the path [channels]; 0 where it never does."""
    return _entries(*path(found))


def select(found: list[Reader], count: int) -> tuple[int, ...]:
    """The channels of the path's last point with at most ``count``; where they are fewer, the next to enter join."""
    alphas, betas = path(found)
    point = int(torch.nonzero((betas != 0).sum(0) <= count).max())
    first = (betas[:, point] != 0).double() * 2 * (1 + float(alphas[0]))
    order = torch.argsort(first + _entries(alphas, betas), descending=True, stable=True)
    return tuple(sorted(order[:count].tolist()))


def _entries(alphas: Tensor, betas: Tensor) -> Tensor:
    inside = betas != 0
    first = inside.double().argmax(1)
    # At the point where β first is not 0 the channel had joined: it entered at the λ before.
    return torch.where(inside.any(1), alphas[(first - 1).clamp_min(0)], 0.0)


def refitted(reader: Reader, kept: Tensor, ridge: float) -> Rebuilt:
    """The weight for the kept channels, and the bias, that come nearest the target in least squares."""
    old = reader.weight[:, kept]
    if not reader.free:
        return Rebuilt(old)
    inputs, products = reader.moments
    gram = inputs[kept][:, :, kept].flatten(2).flatten(0, 1)
    pull = ridge * gram.diagonal().mean().clamp_min(1e-30)
    gram.diagonal().add_(pull)
    fitted = torch.linalg.solve(gram, products[kept].flatten(0, 1) + pull * old.flatten(1).T).T
    if not reader.biased:
        return Rebuilt(fitted.reshape(old.shape))
    missing = reader.target.mean(0) - fitted @ reader.inputs[:, kept].flatten(1).mean(0)
    return Rebuilt(fitted.reshape(old.shape), missing)


ENTRY = Entry(
    row="PR8",
    name="lasso-channels",
    family="pruning",
    paper="He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks. ICCV 2017.",
    options=LassoChannels,
)
