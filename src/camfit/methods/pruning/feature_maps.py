"""Where a channel's feature map is: the value behind a convolution, its batch-norm and its activation.

Criteria that look at activations (Taylor, means, zeros, information) read it there, as their papers do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camfit.graph import ChannelGroup
from camfit.methods.pruning.l1_filters import places
from camfit.network import Network

_BEHIND = (nn.BatchNorm2d, nn.BatchNorm1d, nn.ReLU, nn.ReLU6, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True)
class FeatureMap:
    """A layer's feature maps that belong to one group.

    Attributes:
        layer: the convolution or linear layer.
        value: name of the node whose value holds them, for one call of the layer.
        channels: of that value: [channels of the group, places of each].
    """

    layer: str
    value: str
    channels: Tensor

    def of(self, value: Tensor) -> Tensor:
        """The maps [N, channels of the group, all places and pixels of each] out of the node's value."""
        picked = value.flatten(2) if value.dim() > 2 else value[:, :, None]
        return picked[:, self.channels].flatten(2)


def feature_maps(network: Network, group: ChannelGroup) -> tuple[FeatureMap, ...]:
    """The feature maps of each layer that computes the group's channels, one for each call."""
    found: list[FeatureMap] = []
    for slot in group.producers:
        if isinstance(network.layer(slot.layer), nn.Conv2d | nn.Linear):
            for call in network.calls(slot.layer):
                found.append(FeatureMap(slot.layer, _end(network, call.name), places(slot)))
    return tuple(found)


def _end(network: Network, name: str) -> str:
    """The last of the batch-norm, activation and dropout that alone read a layer's value."""
    while len(readers := network.consumers(name)) == 1 and isinstance(network.layer(readers[0].layer), _BEHIND):
        name = readers[0].name
    return name


@contextmanager
def observed(network: Network) -> Iterator[Network]:
    """A copy in evaluation mode, whose parameters ask for no gradient: values may."""
    copy = network.clone().eval()
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    with torch.enable_grad():
        yield copy
