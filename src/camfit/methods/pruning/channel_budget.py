"""Options that all structured methods share: how many channels go, and how that is shared over the groups.

:mod:`camfit.methods.pruning.plan_channels` makes plans by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from camfit.budget import rounded
from camfit.errors import PlanError, RecipeError
from camfit.graph import ChannelGroup, Graph
from camfit.network import Network

Allocation = Literal["uniform", "global", "greedy", "sensitivity", "least-loss"]


@dataclass(frozen=True)
class ChannelBudget:
    """Options of every method that removes channels. At most one of ``macs`` to ``channels`` is given.

    Attributes:
        ratio: fraction of the channels to remove, in [0, 1), where no other limit is given.
        ratios: fraction by layer; it holds for the whole group that the layer produces, whatever the rest does.
        macs: fraction of the network's multiply-accumulates to remove, in (0, 1).
        weights: fraction of its weights, biases and batch-norm values, in (0, 1).
        size: fraction of the bytes of its packed file, in (0, 1).
        latency: fraction of its milliseconds on the engine (one thread, this machine), in (0, 1). A measurement: two
            plans may differ.
        channels: number of channels to remove, over all groups.
        allocation: ``uniform``: every group loses the same fraction; ``global``: the lowest scores of all groups;
            ``greedy``: one channel after the other, the least score for what it saves; ``sensitivity``: what costs
            each group the same loss on the calibration images, pruned alone and without retraining;
            ``least-loss``: what costs the least sum of those losses, channels going by the loss for what they save.
        macs_penalty: λ of FLOPs regularisation: score − λ·(multiply-accumulates that go with a channel, as a share of
            the dearest channel's). Molchanov et al., ICLR 2017, section 2.2. For ``global`` and ``greedy``.
        skip: layers whose channels stay.
        round_to: kept channels are rounded up to a multiple of it.
        curves: measure each group's sensitivity for the report, whatever the allocation: the loss on the calibration
            images when it alone is cut further and further, without retraining.
    """

    NAME: ClassVar[str]

    ratio: float = 0.3
    ratios: dict[str, float] = field(default_factory=dict)
    macs: float | None = None
    weights: float | None = None
    size: float | None = None
    latency: float | None = None
    channels: int | None = None
    allocation: Allocation = "uniform"
    macs_penalty: float = 0.0
    skip: tuple[str, ...] = ()
    round_to: int = 1
    curves: bool = False

    def __post_init__(self) -> None:
        for name, value in {"ratio": self.ratio, **{f"ratios.{k}": v for k, v in self.ratios.items()}}.items():
            if not 0 <= value < 1:
                raise RecipeError(f"{self.NAME}: {name} is {value}, expected in [0, 1)")
        fractions = {"macs": self.macs, "weights": self.weights, "size": self.size, "latency": self.latency}
        for name, fraction in fractions.items():
            if fraction is not None and not 0 < fraction < 1:
                raise RecipeError(f"{self.NAME}: {name} is {fraction}, expected in (0, 1)")
        if self.channels is not None and self.channels < 1:
            raise RecipeError(f"{self.NAME}: channels is {self.channels}, expected 1 or more")
        given = [name for name, limit in {**fractions, "channels": self.channels}.items() if limit is not None]
        if len(given) > 1:
            raise RecipeError(f"{self.NAME}: {' and '.join(given)} are given, expected at most one limit")
        if self.allocation not in get_args(Allocation):
            expected = ", ".join(get_args(Allocation))
            raise RecipeError(f"{self.NAME}: allocation is {self.allocation!r}, expected one of {expected}")
        if not self.macs_penalty >= 0:
            raise RecipeError(f"{self.NAME}: macs_penalty is {self.macs_penalty}, expected 0 or more")
        if self.round_to < 1:
            raise RecipeError(f"{self.NAME}: round_to is {self.round_to}, expected 1 or more")


def cuttable(options: ChannelBudget, network: Network, graph: Graph) -> tuple[ChannelGroup, ...]:
    """The groups that may be cut.

    Raises:
        RecipeError: an option names a layer that is not there.
        PlanError: there is no such group; says why.
    """
    _known(options.NAME, options.ratios, network)
    return open_groups(options.NAME, options.skip, network, graph)


def open_groups(method: str, skip: Iterable[str], network: Network, graph: Graph) -> tuple[ChannelGroup, ...]:
    """The groups that no layer of ``skip`` computes; raises what :func:`cuttable` raises."""
    skip = tuple(skip)
    _known(method, skip, network)
    skipped = {group.name for layer in skip for group in graph.groups_of(layer)}
    groups = tuple(group for group in graph.groups if group.name not in skipped)
    if not groups:
        why = "; ".join(f"{layer!r}: {reason}" for layer, reason in graph.frozen_reasons.items()) or "all are skipped"
        raise PlanError(f"{method}: no channels can be cut: {why}")
    return groups


def _known(method: str, layers: Iterable[str], network: Network) -> None:
    known = network.weighted()
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise RecipeError(f"{method}: no layer {unknown[0]!r}; expected one of {', '.join(known)}")


def kept_of(options: ChannelBudget, size: int, ratio: float) -> int:
    """Channels that a group of ``size`` keeps when ``ratio`` of them go."""
    return rounded(max(1, size - math.floor(ratio * size + 1e-9)), size, options.round_to)


def fixed_counts(options: ChannelBudget, graph: Graph, groups: tuple[ChannelGroup, ...]) -> dict[str, int]:
    """Channels that ``ratios`` leaves of the groups it names."""
    named: dict[str, float] = {}
    for layer, ratio in options.ratios.items():
        own = [group for group in graph.groups_of(layer) if group in groups]
        if not own:
            reason = graph.frozen_reasons.get(layer, "the layer is skipped")
            raise PlanError(f"{options.NAME}: ratios.{layer}: {reason}")
        for group in own:
            if named.setdefault(group.name, ratio) != ratio:
                raise PlanError(
                    f"{options.NAME}: ratios.{layer} is {ratio}, but group {group.name!r} already has "
                    f"{named[group.name]}; channels of one group go together"
                )
    return {group.name: kept_of(options, len(group), named[group.name]) for group in groups if group.name in named}
