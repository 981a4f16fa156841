"""Cross-layer equalisation. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.1.

A channel that is divided by s behind one layer and multiplied by s in the next leaves the function as it is where only
positively homogeneous layers stand between. s = √(r₁r₂)/r₂ gives both weights the channel's range √(r₁r₂).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camfit.forms import stored_of, weight_of
from camfit.methods.precision.folding import Weighted, rebuilt
from camfit.network import Network

# ReLU6 is not homogeneous: its limit would move.
_BETWEEN = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True)
class Pair:
    """A layer and the one that alone reads it; ``channels[j]``: the first's channel at the second's input j."""

    first: str
    second: str
    channels: Tensor


def pairs(network: Network, paths: tuple[str, ...]) -> list[Pair]:
    """Neighbours among these layers, each called once, with nothing between that a scale would not pass through."""
    found: list[Pair] = []
    shapes = network.shapes()
    for path in paths:
        calls = network.calls(path)
        if len(calls) != 1:
            continue
        at = calls[0]
        channels = torch.arange(shapes[at.name][0])
        while len(readers := network.consumers(at.name)) == 1:
            source, at = at, readers[0]
            layer = network.get_submodule(at.layer)
            if at.layer in paths:
                if len(network.calls(at.layer)) == 1:
                    found.append(Pair(path, at.layer, channels))
                break
            if isinstance(layer, nn.Flatten):
                channels = channels.repeat_interleave(int(torch.tensor(shapes[source.name][1:]).prod()))
            elif isinstance(layer, nn.ChannelShuffle):
                channels = channels.reshape(layer.groups, -1).T.reshape(-1)
            elif not isinstance(layer, _BETWEEN):
                break
    return found


@torch.no_grad()
def equalised(network: Network, paths: tuple[str, ...], rounds: int = 40) -> dict[str, Weighted]:
    """New layers in place of those whose ranges changed; pair after pair, until no scale moves by more than 0.1 %."""
    layers = {path: layer for path, layer in network.weighted().items() if isinstance(layer, Weighted)}
    found = pairs(network, paths)
    changed = {path for pair in found for path in (pair.first, pair.second)}
    stored = {path: stored_of(layers[path]).double() for path in changed}
    # Pruned entries keep their place in the stored tensor but have no say in the ranges.
    alive = {path: weight_of(layers[path]) != 0 for path in changed}
    bias = {path: None if (b := layers[path].bias) is None else b.double() for path in changed}
    for _ in range(rounds):
        largest = 0.0
        for pair in found:
            one, two = stored[pair.first], stored[pair.second]
            first = (one * alive[pair.first]).abs().flatten(1).amax(1)
            inputs = _inputs(two * alive[pair.second], layers[pair.second])
            second = torch.zeros_like(first).scatter_reduce(0, pair.channels, inputs, "amax")
            scale = torch.where((first > 0) & (second > 0), (first / second).sqrt(), 1.0)
            stored[pair.first] = one / scale.reshape(-1, *[1] * (one.dim() - 1))
            first_bias = bias[pair.first]
            bias[pair.first] = None if first_bias is None else first_bias / scale
            stored[pair.second] = input_channels_times(two, layers[pair.second], scale[pair.channels])
            largest = max(largest, float(scale.log().abs().max()))
        if largest < 1e-3:
            break
    return {path: rebuilt(layers[path], stored[path], bias[path]) for path in changed}


def _grouped(weight: Tensor, layer: Weighted) -> Tensor:
    """[groups, outputs, inputs of a group, the rest]."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _inputs(weight: Tensor, layer: Weighted) -> Tensor:
    """Largest magnitude at each input channel."""
    return _grouped(weight, layer).abs().amax((1, 3)).reshape(-1)


def input_channels_times(weight: Tensor, layer: Weighted, factor: Tensor) -> Tensor:
    """The weight with each input channel multiplied."""
    grouped = _grouped(weight, layer)
    return (grouped * factor.reshape(grouped.shape[0], 1, -1, 1)).reshape(weight.shape)
