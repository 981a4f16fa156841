"""GAL. Lin et al., Towards Optimal Structured CNN Pruning via Generative Adversarial Learning, CVPR 2019 (PR12)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camfit.cost import macs
from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.forms import form_of, stored_of
from camfit.graph import ChannelGroup, Graph
from camfit.method import Calibration, Entry
from camfit.methods.pruning.adversarial import Game
from camfit.methods.pruning.channel_budget import open_groups
from camfit.methods.pruning.limit import Limit, given_limit
from camfit.methods.pruning.mask_selection import left, mask_costs, selected_masks, spared
from camfit.methods.pruning.reader_weights import may_change
from camfit.methods.pruning.soft_masks import MaskedNetwork, maskable
from camfit.network import Network
from camfit.plan import DropBranch, KeepChannels, Plan, SetValues
from camfit.surgery import apply

# Share of the outputs' power: with a larger error, masks that matter shrink as the others do, and tell them apart less.
_TOO_FAR = 0.2


@dataclass(frozen=True)
class Gal:
    """Removes channels, branches and whole blocks whose soft mask an l1 penalty brings to zero; needs no labels.

    Every channel, every input of a concatenation and the larger side of every addition is multiplied by a mask. Masks
    and weights are trained so that the network's outputs stay those of the whole network, by their squared error and
    by a discriminator that is trained against them to tell the two apart. Masks move by FISTA: a proximal step with
    momentum, which makes exact zeros. What is zero is removed: a block becomes the identity, a concatenation loses a
    branch. The other masks are folded into the weights, which go into the plan. Batch-norm keeps its statistics.

    Attributes:
        macs: fraction of the multiply-accumulates to remove, in (0, 1): the penalty grows with each pass until the
            zeros come to that, and where they do not, the smallest masks follow. Without a limit the penalty stays as
            it is.
        weights: the limit as a fraction of the weights to remove, in (0, 1).
        size: the limit as a fraction of the bytes of the packed file, in (0, 1).
        latency: the limit as a fraction of the milliseconds on the engine (one thread, this machine), in (0, 1). A
            measurement: two plans may differ.
        sparsity: the l1 penalty of all masks together, where the squared error is half a share of the outputs' power.
        growth: of the penalty with each pass, where a limit is given.
        by_cost: each mask's λ is the penalty times the share of the multiply-accumulates that go with it; otherwise all
            masks have the same, as in the paper.
        branches: mask branches and blocks too, not channels alone.
        adversarial: weight of the discriminator's verdict.
        passes: over the images, with the penalty.
        recovery: passes after the removal, over which the weights alone are trained.
        learning_rate: of the weights (Adam).
        mask_rate: of the masks: FISTA's step, times the masks of a group.
        images: calibration images, at most.
        skip: layers whose channels stay.
    """

    macs: float | None = None
    weights: float | None = None
    size: float | None = None
    latency: float | None = None
    sparsity: float = 0.05
    growth: float = 1.3
    by_cost: bool = True
    branches: bool = True
    adversarial: float = 0.1
    passes: int = 16
    recovery: int = 8
    learning_rate: float = 5e-4
    mask_rate: float = 0.5
    images: int = 512
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._given()
        for name, value, least in (
            ("sparsity", self.sparsity, 0.0),
            ("growth", self.growth, 1.0),
            ("adversarial", self.adversarial, 0.0),
        ):
            if not (value >= least and math.isfinite(value)):
                raise RecipeError(f"gal: {name} is {value}, expected {least:g} or more")
        for name, rate in (("learning_rate", self.learning_rate), ("mask_rate", self.mask_rate)):
            if not (rate > 0 and math.isfinite(rate)):
                raise RecipeError(f"gal: {name} is {rate}, expected above 0")
        for name, count, fewest in (
            ("passes", self.passes, 1),
            ("recovery", self.recovery, 0),
            ("images", self.images, 2),
        ):
            if count < fewest:
                raise RecipeError(f"gal: {name} is {count}, expected {fewest} or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep, branches to drop, and new values for what stays.

        Raises:
            PlanError: nothing can be masked (says why).
            BudgetError: the limit asks for more than everything masked has.
        """
        groups = open_groups("gal", self.skip, network, Graph.of(network))
        units = maskable(network, groups, self.branches)
        if not units:
            raise PlanError(_unmasked(network))
        masked = MaskedNetwork(network, units)
        rates = (self.learning_rate, self.mask_rate)
        game = Game(network, masked, calibration.inputs[: self.images], self.adversarial, rates, calibration.seed)
        shares = mask_costs(network, masked) if self.by_cost else torch.full((len(masked),), 1 / len(masked))
        given = self._given()
        limit = None if given is None else Limit.of(network, *given)
        penalty = self.sparsity
        for _ in range(self.passes):
            before = game.masks.values
            error = game.play(penalty * shares)
            if limit is not None:
                stays = spared(network, masked, game.masks.values) | (game.masks.values != 0)
                if error > _TOO_FAR or limit.met(left(network, masked, stays)):
                    # One pass earlier the masks still say which of them would have gone last.
                    game.masks.restart(before)
                    break
                penalty *= self.growth
        try:
            kept = selected_masks(network, masked, game.masks.values, limit)
        except BudgetError as error:
            name, fraction = given or ("sparsity", self.sparsity)
            raise BudgetError(f"gal: {name} is {fraction}, more than can go: {error}") from error
        game.masks.restart(torch.where(kept, game.masks.values, 0.0))
        for _ in range(self.recovery):
            game.play(None)
        return self._plan(network, masked, game.masks.values, kept)

    def _given(self) -> tuple[str, float] | None:
        limits = {"macs": self.macs, "weights": self.weights, "size": self.size, "latency": self.latency}
        return given_limit("gal", limits)

    def _plan(self, network: Network, masked: MaskedNetwork, masks: Tensor, kept: Tensor) -> Plan:
        cut = Plan("gal", masked.cut(kept).edits)
        done = apply(masked.folded(masks), cut)
        values = tuple(
            SetValues(f"{path}.{name}", value.detach().clone())
            for path, layer in done.layers()
            for name, value in _values(layer).items()
        )
        before, after = sum(macs(network).values()), sum(macs(done).values())
        dropped = sum(isinstance(edit, DropBranch) for edit in cut)
        channels = sum(isinstance(edit, KeepChannels) for edit in cut)
        reason = (
            f"drop {dropped} branches and cut {channels} groups of channels whose masks went to zero, "
            f"{1 - after / max(1, before):.0%} of the multiply-accumulates"
        )
        notes: dict[str, dict[str, float | int | str]] = {}
        for unit, start in zip(masked.units, masked.starts(), strict=True):
            own = kept[start : start + unit.size]
            name = unit.removal.name if isinstance(unit.removal, ChannelGroup) else str(unit.removal)
            if not bool(own.all()):
                notes[name] = {"masks": unit.size, "kept": int(own.sum())}
        return Plan("gal", cut.edits + values, reason, notes)


def _values(layer: nn.Module) -> dict[str, Tensor]:
    """What training may have changed."""
    if not may_change(layer) or not isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.BatchNorm1d):
        return {}
    normalises = isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)
    values = {"weight": layer.weight if normalises else stored_of(layer), "bias": layer.bias}
    return {name: value for name, value in values.items() if value is not None}


def _unmasked(network: Network) -> str:
    """Why nothing can be masked."""
    fixed: list[str] = []
    for path, layer in network.weighted().items():
        if not may_change(layer):
            form = form_of(layer)
            by = f" ({form.origin})" if form is not None and form.origin else ""
            fixed.append(f"{path!r} in form {form.name}{by}" if form is not None else f"{path!r}")
    return (
        f"gal: masks cannot be folded into the weights that read the channels: {', '.join(fixed) or 'there are none'}"
    )


ENTRY = Entry(
    row="PR12",
    name="gal",
    family="pruning",
    paper="Lin, Ji, Yan, Zhang, Cao, Ye, Huang, Doermann: Towards Optimal Structured CNN Pruning via Generative "
    "Adversarial Learning. CVPR 2019.",
    options=Gal,
)
