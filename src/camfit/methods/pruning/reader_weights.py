"""Which entries of a layer's weight read which channel of a group: a channel's kernels in the layers behind it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from camfit.forms import Masked, form_of, weight_of
from camfit.graph import ChannelGroup
from camfit.layers import BinaryConv2d, BinaryLinear, is_depthwise
from camfit.methods.pruning.l1_filters import places
from camfit.network import Network


def readers_of(network: Network, group: ChannelGroup) -> dict[str, Tensor]:
    """By layer that reads the group's channels, which channel each entry of its weight reads; −1 for none of them.

    Depth-wise convolutions hand channels on and are left out.

    Returns:
        int64 tensors of the weights' shapes.
    """
    return {path: over_weight(network.layer(path), of) for path, of in inputs_read(network, group).items()}


def inputs_read(network: Network, group: ChannelGroup) -> dict[str, Tensor]:
    """By layer as in :func:`readers_of`, which channel of the group each of its inputs is; −1 for none [inputs]."""
    found: dict[str, Tensor] = {}
    for slot in group.consumers:
        layer = network.layer(slot.layer)
        if not is_depthwise(layer):
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            at = places(slot)
            of_input = torch.full((layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features,), -1)
            of_input[at.flatten()] = torch.arange(len(at)).repeat_interleave(at.shape[1])
            found[slot.layer] = of_input
    return found


def over_weight(layer: nn.Module, values: Tensor) -> Tensor:
    """One value of each input [inputs] at every entry of the layer's weight that reads it."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    weight = weight_of(layer)
    rows, width = weight.shape[:2]
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    # Row r of a grouped convolution reads the inputs of its own group.
    inputs = (torch.arange(rows) // (rows // groups) * width)[:, None] + torch.arange(width)
    return values[inputs].reshape(rows, width, *[1] * (weight.dim() - 2)).expand(weight.shape)


def channel_norms(values: Mapping[str, Tensor], read: Mapping[str, Tensor], channels: int) -> Tensor:
    """‖W_k‖_F of each channel k over the entries of all readers that read it [channels], float64.

    Args:
        values: by reader, one value for each entry of its weight: the weight itself, or a gradient.
        read: of :func:`readers_of`.
        channels: of the group.
    """
    squares = torch.zeros(channels + 1, dtype=torch.float64)
    for path, of_entry in read.items():
        # The entries of no channel, −1, fall into the place behind the last channel.
        squares.index_add_(0, of_entry.flatten() % (channels + 1), values[path].detach().double().flatten().square())
    return squares[:channels].sqrt()


def may_change(layer: nn.Module) -> bool:
    """True for a layer whose weight may take any values (where it is not masked)."""
    form = form_of(layer)
    return not isinstance(layer, BinaryConv2d | BinaryLinear) and (form is None or isinstance(form, Masked))
