"""The oracle: what the loss becomes without each channel, and how well a criterion's ranking agrees with it.

Molchanov et al., ICLR 2017, sections 2.1 and 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from scipy.stats import spearmanr
from torch import Tensor

from camfit.graph import ChannelGroup
from camfit.method import Calibration
from camfit.methods.pruning.feature_maps import FeatureMap, feature_maps, observed
from camfit.methods.pruning.plan_channels import Scores
from camfit.network import Network


@torch.no_grad()
def oracle(network: Network, groups: Iterable[ChannelGroup], calibration: Calibration) -> Scores:
    """By group, C(without the channel) − C(whole) for each channel, its feature maps set to zero one channel at a time.

    One evaluation of the calibration images for each channel; only what lies behind its maps is computed anew. Its
    absolute value is the paper's *oracle-abs*, as it stands it is *oracle-loss*.
    """
    with observed(network) as copy, torch.no_grad():
        values = copy.values(calibration.inputs)
        whole = float(calibration.loss(values[copy.nodes[-1].name], calibration.targets))
        changes: Scores = {}
        for group in groups:
            maps = feature_maps(copy, group)
            losses = [_loss_without(copy, values, maps, channel, calibration) for channel in range(len(group))]
            changes[group.name] = torch.tensor(losses, dtype=torch.float64) - whole
    return changes


def correlations(scores: Scores, truth: Scores) -> dict[str, float]:
    """Spearman's rank correlation of two scorings, by group, and over all channels as ``"all"``.

    A group of fewer than three channels, or whose scores are all equal, has none and is left out.
    """
    found: dict[str, float] = {}
    groups = {
        **{name: (scores[name], truth[name]) for name in scores},
        "all": (_joined(scores), _joined(truth, scores)),
    }
    for name, (ours, true) in groups.items():
        if len(ours) >= 3 and len(ours.unique()) > 1 and len(true.unique()) > 1:
            found[name] = float(spearmanr(ours.numpy(), true.numpy()).statistic)
    return found


def _joined(scores: Scores, like: Scores | None = None) -> Tensor:
    return torch.cat([scores[name] for name in (like or scores)])


def _loss_without(
    network: Network, values: dict[str, Tensor], maps: tuple[FeatureMap, ...], channel: int, calibration: Calibration
) -> float:
    """The loss when one channel's maps are zero."""
    changed: dict[str, Tensor] = {}
    emptied = {of.value: of.channels[channel] for of in maps}
    for node in network.nodes:
        if any(name in changed for name in node.inputs):
            inputs = (changed.get(name, values[name]) for name in node.inputs)
            changed[node.name] = network.get_submodule(node.layer)(*inputs)
        if node.name in emptied:
            value = changed.get(node.name, values[node.name]).clone()
            value[:, emptied[node.name]] = 0
            changed[node.name] = value
    output = network.nodes[-1].name
    return float(calibration.loss(changed.get(output, values[output]), calibration.targets))
