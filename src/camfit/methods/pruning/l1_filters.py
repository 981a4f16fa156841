"""L1 filters. Li, Kadav, Durdanovic, Samet, Graf, Pruning Filters for Efficient ConvNets, ICLR 2017 (PR6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from camfit.budget import highest
from camfit.errors import RecipeError
from camfit.graph import ChannelGroup, Graph, Slot
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable
from camfit.methods.pruning.plan_channels import Scores, asked_curves, channel_plan, kept_counts, plan_channels
from camfit.network import Network
from camfit.plan import Plan


@dataclass(frozen=True)
class L1Filters(ChannelBudget):
    """Removes the filters with the smallest Σ|w|, their feature maps, and the next layers' kernels that read these.

    A linear layer's row is a filter of one pixel. Channels that must go together (a group) have one score: the sum of
    Σ|w| over all filters that produce them: both convolutions of a depth-wise pair; every convolution that adds into a
    residual stream, its projection shortcut included. (The paper lets the projection alone decide; the sum also serves
    streams without one.)

    Attributes:
        selection: ``independent`` counts all kernels of a filter; ``greedy`` goes through the groups in execution order
            and leaves out kernels that read channels already removed. Both are the paper's, section 3.3. How many go of
            each group is shared by the independent sums.
    """

    NAME: ClassVar[str] = "l1-filters"

    selection: Literal["independent", "greedy"] = "independent"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection not in ("independent", "greedy"):
            raise RecipeError(f"l1-filters: selection is {self.selection!r}, expected 'independent' or 'greedy'")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group; calibration is looked at for allocation ``sensitivity`` only.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        why = f"Σ|w| ({self.selection})"
        if self.selection == "independent":
            return plan_channels(self, network, calibration, lambda groups: _sums(network, groups), why)
        graph = Graph.of(network)
        groups = cuttable(self, network, graph)
        sums = _sums(network, groups)
        curves = asked_curves(self, network, groups, sums, calibration)
        counts = kept_counts(self, network, graph, groups, calibration, sums, curves=curves)
        keep: dict[str, tuple[int, ...]] = {}
        scores: Scores = {}
        gone: dict[str, set[int]] = {}
        for group in groups:
            scores[group.name] = filter_sums(network, group, gone)
            keep[group.name] = highest(scores[group.name], counts[group.name])
            for slot in group.consumers:
                places = (
                    p for channel in set(range(len(group))) - set(keep[group.name]) for p in slot.positions[channel]
                )
                gone.setdefault(slot.layer, set()).update(places)
        return channel_plan(self.NAME, groups, keep, scores, why, curves)


def _sums(network: Network, groups: Iterable[ChannelGroup]) -> Scores:
    return {group.name: filter_sums(network, group, {}) for group in groups}


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
            total += _row_sums(layer, gone.get(slot.layer, set()))[places(slot)].sum(1)
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


def places(slot: Slot) -> Tensor:
    """The slot's positions as a tensor [channels, places of each]."""
    return torch.tensor(slot.positions, dtype=torch.int64)


ENTRY = Entry(
    row="PR6",
    name="l1-filters",
    family="pruning",
    paper="Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets. ICLR 2017.",
    options=L1Filters,
)
