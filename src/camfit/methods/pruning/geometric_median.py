"""FPGM. He, Liu, Wang, Hu, Yang, Filter Pruning via Geometric Median, CVPR 2019 (PR11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from camfit.forms import weight_of
from camfit.graph import ChannelGroup
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.l1_filters import places
from camfit.methods.pruning.plan_channels import Scores, plan_channels
from camfit.network import Network
from camfit.plan import Plan


@dataclass(frozen=True)
class GeometricMedian(ChannelBudget):
    """Removes the filters nearest the geometric median of their layer's: what the others can stand in for, not what is
    small.

    A filter's score is Σ_j ‖F_i − F_j‖₂ over the layer's filters, least at the median (the paper's eq. 6); a linear
    layer's row is a filter of one pixel. A group that several layers produce sums its channels' scores.
    """

    NAME: ClassVar[str] = "geometric-median"

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group; calibration is looked at for allocation ``sensitivity`` only.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        why = "distance from the layer's geometric median"
        return plan_channels(self, network, calibration, lambda groups: distances(network, groups), why)


@torch.no_grad()
def distances(network: Network, groups: Iterable[ChannelGroup]) -> Scores:
    """Σ_j ‖F_i − F_j‖₂ over the filters of each layer that produces a group, summed over these layers."""
    rows: dict[str, Tensor] = {}
    scores: Scores = {}
    for group in groups:
        total = torch.zeros(len(group), dtype=torch.float64)
        for slot in group.producers:
            layer = network.layer(slot.layer)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                if slot.layer not in rows:
                    filters = weight_of(layer).detach().double().flatten(1).cpu()
                    # Not by scalar products: near-duplicates must come out near, not at the rounding error.
                    rows[slot.layer] = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
                total += rows[slot.layer][places(slot)].sum(1)
        scores[group.name] = total
    return scores


ENTRY = Entry(
    row="PR11",
    name="geometric-median",
    family="pruning",
    paper="He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional Neural Networks "
    "Acceleration. CVPR 2019.",
    options=GeometricMedian,
)
