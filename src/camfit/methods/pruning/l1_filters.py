"""L1 filters. Li, Kadav, Durdanovic, Samet, Graf, Pruning Filters for Efficient ConvNets, ICLR 2017 (PR6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from camfit.budget import highest, rounded, uniform
from camfit.cost import mac_cost
from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.graph import ChannelGroup, Graph, Slot
from camfit.method import Calibration, Entry
from camfit.network import Network
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply


@dataclass(frozen=True)
class L1Filters:
    """Removes the filters with the smallest Σ|w|, their feature maps, and the next layers' kernels that read these.

    A linear layer's row is a filter of one pixel. Channels that must go together (a group) have one score: the sum of
    Σ|w| over all filters that produce them: both convolutions of a depth-wise pair; every convolution that adds into a
    residual stream, its projection shortcut included. (The paper lets the projection alone decide; the sum also serves
    streams without one.) Sums of different groups are not compared: each group loses its own fraction.

    Attributes:
        ratio: fraction of each group's channels to remove, in [0, 1), unless ``ratios`` or ``macs`` says otherwise.
        ratios: fraction by layer; it holds for the whole group that the layer produces.
        macs: fraction of the network's multiply-accumulates to remove, in (0, 1). The groups that ``ratios`` does not
            name share one ratio, the smallest that reaches it.
        selection: ``independent`` counts all kernels of a filter; ``greedy`` goes through the groups in execution order
            and leaves out kernels that read channels already removed. Both are the paper's, section 3.3.
        skip: layers whose channels stay.
        round_to: kept channels are rounded up to a multiple of it.
    """

    ratio: float = 0.3
    ratios: dict[str, float] = field(default_factory=dict)
    macs: float | None = None
    selection: Literal["independent", "greedy"] = "independent"
    skip: tuple[str, ...] = ()
    round_to: int = 1

    def __post_init__(self) -> None:
        for name, value in {"ratio": self.ratio, **{f"ratios.{k}": v for k, v in self.ratios.items()}}.items():
            if not 0 <= value < 1:
                raise RecipeError(f"l1-filters: {name} is {value}, expected in [0, 1)")
        if self.macs is not None and not 0 < self.macs < 1:
            raise RecipeError(f"l1-filters: macs is {self.macs}, expected in (0, 1)")
        if self.selection not in ("independent", "greedy"):
            raise RecipeError(f"l1-filters: selection is {self.selection!r}, expected 'independent' or 'greedy'")
        if self.round_to < 1:
            raise RecipeError(f"l1-filters: round_to is {self.round_to}, expected 1 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group; calibration is not looked at.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: ``macs`` asks for more than all groups together have.
        """
        graph = Graph.of(network)
        groups = self._groups(network, graph)
        counts = self._counts(network, graph, groups)
        edits: list[KeepChannels] = []
        notes: dict[str, dict[str, float | int | str]] = {}
        gone: dict[str, set[int]] = {}
        for group in groups:
            scores = filter_sums(network, group, gone if self.selection == "greedy" else {})
            keep = highest(scores, counts[group.name])
            if len(keep) == len(group):
                continue
            edits.append(KeepChannels(group.name, keep))
            notes[group.name] = {
                "channels": len(group),
                "kept": len(keep),
                "share of the sum kept": float(scores[list(keep)].sum() / scores.sum().clamp(min=1e-30)),
            }
            for slot in group.consumers:
                places = (p for channel in set(range(len(group))) - set(keep) for p in slot.positions[channel])
                gone.setdefault(slot.layer, set()).update(places)
        before, after = sum(len(group) for group in groups), sum(counts.values())
        reason = f"keep {after:,} of {before:,} channels by Σ|w| ({self.selection})"
        return Plan("l1-filters", tuple(edits), reason, notes)

    def sensitivity(
        self, network: Network, evaluate: Callable[[Network], float], ratios: Iterable[float]
    ) -> dict[str, list[tuple[float, float]]]:
        """The paper's sensitivity curves: each group pruned alone, by each ratio, without retraining.

        Args:
            network: stays as it is.
            evaluate: the metric of a network, on data that may decide (never the test split).
            ratios: fractions of the group's channels to remove, in [0, 1).

        Returns:
            by group, named after its first layer: (fraction really removed, metric), in the order of ``ratios``.
        """
        ratios = tuple(ratios)
        curves: dict[str, list[tuple[float, float]]] = {}
        for group in self._groups(network, Graph.of(network)):
            scores = filter_sums(network, group, {})
            curves[group.name] = []
            for ratio in ratios:
                if not 0 <= ratio < 1:
                    raise RecipeError(f"l1-filters: sensitivity ratio {ratio}, expected in [0, 1)")
                keep = highest(scores, self._kept(len(group), ratio))
                pruned = apply(network, Plan("l1-filters", (KeepChannels(group.name, keep),)))
                curves[group.name].append((1 - len(keep) / len(group), evaluate(pruned)))
        return curves

    def _groups(self, network: Network, graph: Graph) -> tuple[ChannelGroup, ...]:
        """The groups that may be cut."""
        known = network.weighted()
        unknown = [name for name in (*self.ratios, *self.skip) if name not in known]
        if unknown:
            raise RecipeError(f"l1-filters: no layer {unknown[0]!r}; expected one of {', '.join(known)}")
        skipped = {group.name for layer in self.skip for group in graph.groups_of(layer)}
        groups = tuple(group for group in graph.groups if group.name not in skipped)
        if not groups:
            why = (
                "; ".join(f"{layer!r}: {reason}" for layer, reason in graph.frozen_reasons.items()) or "all are skipped"
            )
            raise PlanError(f"l1-filters: no channels can be cut: {why}")
        return groups

    def _kept(self, size: int, ratio: float) -> int:
        return rounded(max(1, size - math.floor(ratio * size + 1e-9)), size, self.round_to)

    def _counts(self, network: Network, graph: Graph, groups: tuple[ChannelGroup, ...]) -> dict[str, int]:
        """How many channels each group keeps."""
        named: dict[str, float] = {}
        for layer, ratio in self.ratios.items():
            own = [group for group in graph.groups_of(layer) if group in groups]
            if not own:
                raise PlanError(
                    f"l1-filters: ratios.{layer}: {graph.frozen_reasons.get(layer, 'the layer is skipped')}"
                )
            for group in own:
                if named.setdefault(group.name, ratio) != ratio:
                    raise PlanError(
                        f"l1-filters: ratios.{layer} is {ratio}, but group {group.name!r} already has "
                        f"{named[group.name]}; channels of one group go together"
                    )
        fixed = {group.name: self._kept(len(group), named[group.name]) for group in groups if group.name in named}
        others = {group.name: len(group) for group in groups if group.name not in named}
        if self.macs is None:
            return {**fixed, **{name: self._kept(size, self.ratio) for name, size in others.items()}}
        cost = mac_cost(network, graph)
        limit = (1 - self.macs) * cost({})
        try:
            return {**fixed, **uniform(others, lambda kept: cost({**fixed, **kept}), limit, self.round_to)}
        except BudgetError as error:
            raise BudgetError(f"l1-filters: macs is {self.macs}, more than these groups have: {error}") from error


@torch.no_grad()
def filter_sums(network: Network, group: ChannelGroup, gone: dict[str, set[int]]) -> Tensor:
    """Σ|w| over all filters of each channel of a group [channels], float64.

    Args:
        network: the group's network.
        group: batch-norm has no filters and adds nothing.
        gone: by layer, input channels whose kernels are not counted.
    """
    total = torch.zeros(len(group), dtype=torch.float64)
    for slot in group.producers:
        layer = network.layer(slot.layer)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += _row_sums(layer, gone.get(slot.layer, set()))[_places(slot)].sum(1)
    return total


def _row_sums(layer: nn.Conv2d | nn.Linear, gone: set[int]) -> Tensor:
    """Σ|w| of each output row without the kernels that read the input channels ``gone``."""
    weight = layer.weight.detach().double().abs().cpu()
    sums = weight.flatten(2).sum(2) if weight.dim() == 4 else weight
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    # Row r reads the inputs of its own group: columns c of the weight are inputs group(r)·width + c.
    rows, width = sums.shape
    inputs = (torch.arange(rows) // (rows // groups) * width)[:, None] + torch.arange(width)
    counted = torch.ones(width * groups, dtype=torch.float64)
    counted[sorted(gone)] = 0
    return (sums * counted[inputs]).sum(1)


def _places(slot: Slot) -> Tensor:
    """The slot's positions as a tensor [channels, places of each]."""
    return torch.tensor(slot.positions, dtype=torch.int64)


ENTRY = Entry(
    row="PR6",
    name="l1-filters",
    family="pruning",
    paper="Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. ICLR 2017.",
    options=L1Filters,
)
