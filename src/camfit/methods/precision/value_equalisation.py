"""Channels of one value brought nearer to a common range, as all its bytes share one scale. Meller et al., Same, Same
But Different: Recovering Neural Network Quantization Error Through Weight Factorization, ICML 2019.

A channel divided by s in every layer that makes it, and multiplied by s in every layer that reads it, leaves the
function as it is. Rows of weights pay nothing for it where each has its own scale. Values that meet in an addition form
one *stream* with a common s. A channel with the largest magnitude m gets s = m / M, M the largest of all.

Through ReLU6 too, where depthwise layers alone read the stream: there s = √(m / M) <= 1, so that a channel that reached
m reaches √(m M) <= 6. It is cut off at what was 6 s before: the function is the same up to √(M / m) times the largest
value that was seen, and not beyond.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camfit.forms import stored_of
from camfit.methods.precision.equalise import input_channels_times
from camfit.methods.precision.folding import Weighted, rebuilt
from camfit.methods.precision.observe import batches, laid_out, walk
from camfit.network import INPUT, Add, Network, Node

# What a scale of a channel passes through; ReLU6 only for scales up to 1.
_PASSING = (nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d, nn.Flatten)

# A channel is never made larger than so many times.
_MOST = 64.0


@dataclass(frozen=True)
class Stream:
    """Values with the same channels. ``producers`` make them, ``readers`` read them: layers, each called once."""

    names: frozenset[str]
    producers: tuple[str, ...]
    readers: tuple[str, ...]


def streams(network: Network, paths: Collection[str]) -> list[Stream]:
    """The values whose channels can be scaled: between layers of ``paths`` only, in execution order."""
    root = {name: name for name in (INPUT, *(node.name for node in network.nodes))}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for node in network.nodes:
        if _passes(network, node):
            for name in node.inputs:
                root[find(name)] = find(node.name)
    members: dict[str, set[str]] = {}
    for name in root:
        members.setdefault(find(name), set()).add(name)
    fixed = {find(INPUT), find(network.nodes[-1].name)}
    producers: dict[str, list[str]] = {}
    readers: dict[str, list[str]] = {}
    for node in network.nodes:
        if _passes(network, node):
            continue
        if node.layer in paths and len(network.calls(node.layer)) == 1:
            producers.setdefault(find(node.name), []).append(node.layer)
            readers.setdefault(find(node.inputs[0]), []).append(node.layer)
        else:
            fixed |= {find(name) for name in (node.name, *node.inputs)}
    return [
        Stream(frozenset(members[name]), tuple(made), tuple(readers[name]))
        for name, made in producers.items()
        if name not in fixed and name in readers
    ]


def _passes(network: Network, node: Node) -> bool:
    return isinstance(network.get_submodule(node.layer), (*_PASSING, Add))


@torch.no_grad()
def peaks(network: Network, names: Collection[str], inputs: Tensor) -> dict[str, Tensor]:
    """Largest magnitude of each channel [C] of the named values."""
    found: dict[str, Tensor] = {}

    def visit(name: str, value: Tensor) -> None:
        if name in names:
            largest = torch.linalg.vector_norm(value.transpose(0, 1).flatten(1), ord=torch.inf, dim=1)
            found[name] = torch.maximum(found[name], largest) if name in found else largest

    network = laid_out(network)
    for batch in batches(network, inputs):
        walk(network, batch, visit)
    return found


@torch.no_grad()
def value_equalised(
    network: Network, paths: Collection[str], bytes_behind: Collection[str], inputs: Tensor
) -> dict[str, Weighted]:
    """New layers in place of those that make or read equalised values.

    Args:
        network: batch-norm folded.
        paths: layers that may be changed.
        bytes_behind: the values that will be bytes; others have no say.
        inputs: to see the channels' ranges on.
    """
    found = [stream for stream in streams(network, paths) if stream.names & {*bytes_behind}]
    ranges = peaks(network, {name for stream in found for name in stream.names & {*bytes_behind}}, inputs)
    layers: dict[str, Weighted] = {}

    def layer(path: str) -> Weighted:
        now = layers.get(path, network.layer(path))
        assert isinstance(now, Weighted)
        return now

    for stream in found:
        shape = len(_rows(network, stream.producers[0]))
        seen = [ranges[name].double() for name in sorted(stream.names & ranges.keys()) if len(ranges[name]) == shape]
        if not seen:
            continue
        largest = torch.stack(seen).amax(0)
        if not bool(largest.isfinite().all()) or not bool(largest.any()):
            continue
        power = _power(network, stream)
        if power == 0:
            continue
        # A channel that was always 0 tells nothing of what it reaches.
        scale = torch.where(largest > 0, (largest / largest.max()).pow(power).clamp_min(1 / _MOST), 1.0)
        for path in stream.producers:
            one = layer(path)
            stored = stored_of(one).double()
            bias = None if one.bias is None else one.bias.double() / scale
            layers[path] = rebuilt(one, stored / scale.reshape(-1, *[1] * (stored.dim() - 1)), bias)
        for path in stream.readers:
            one = layer(path)
            stored = stored_of(one).double()
            inputs_of = stored.shape[1] * (one.groups if isinstance(one, nn.Conv2d) else 1)
            spread = scale.repeat_interleave(inputs_of // shape)
            layers[path] = rebuilt(one, input_channels_times(stored, one, spread), one.bias)
    return layers


def _rows(network: Network, path: str) -> Tensor:
    return stored_of(network.layer(path))


def _power(network: Network, stream: Stream) -> float:
    """1 for one range in all channels, 0 for none of it."""
    capped = any(isinstance(network.layer(node.layer), nn.ReLU6) for node in network.nodes if node.name in stream.names)
    if not capped:
        return 1.0
    readers = [network.layer(path) for path in stream.readers]
    depthwise = all(isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels for layer in readers)
    # A dense reader's columns share a row's scale, and pay for what was gained.
    return 0.5 if depthwise else 0.0
