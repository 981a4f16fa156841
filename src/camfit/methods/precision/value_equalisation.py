"""Channels of one value brought nearer to a common range, as all its bytes share one scale. Meller et al., Same, Same
But Different: Recovering Neural Network Quantization Error Through Weight Factorization, ICML 2019.

A channel divided by s in every layer that makes it, and multiplied by s in every layer that reads it, leaves the
function as it is. Rows of weights pay nothing for it where each has its own scale. Values that meet in an addition form
one *stream* with a common s. A channel with the largest magnitude m gets s = (m / M)^a, M the largest of all.

The readers gain on the value's steps and pay on their weights' steps: a channel made larger carries their error too. So
each stream takes the a of the least error that its readers' outputs will have, by the usual model of rounding: an error
that is even over a step d, with variance d² / 12, and independent of all others; a zero has none, and a mean goes into
the bias. An output of weights w in steps d_w has Σ w² n d_x² / 12 + Σ v d_w² / 12, from inputs in steps d_x that have
the variance v and are not 0 in a share n of all places.

Before that the channels are *centred* where nothing but additions stands between layers (linear bottlenecks): the
middle of a channel's range goes into biases, so that one zero point suits all channels. Wei et al., Outlier
Suppression+, EMNLP 2023.

Through ReLU6 too, with a <= 1/2: a channel that reached m then reaches √(m M) <= 6. It is cut off at what was 6 s
before: the function is the same up to √(M / m) times the largest value that was seen, and not beyond.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from camfit.forms import stored_of, weight_of
from camfit.methods.precision.equalise import input_channels_times
from camfit.methods.precision.folding import Weighted, rebuilt
from camfit.methods.precision.observe import Channels, Move
from camfit.network import INPUT, Add, Network, Node

# What a scale of a channel passes through; ReLU6 only for scales up to 1.
_PASSING = (nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d, nn.Flatten)

# A channel is never made larger than so many times.
_MOST = 64.0

# A stream is left alone unless its readers' error falls to this share: the model is no better than that.
_WORTH = 0.5


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


def watched(network: Network, found: Sequence[Stream], bytes_behind: Collection[str]) -> set[str]:
    """The values of the streams whose channels must be known: those that will be bytes, and those that layers read."""
    made = {name for stream in found for name in stream.names & {*bytes_behind}}
    return made | {network.calls(path)[0].inputs[0] for stream in found for path in stream.readers}


@dataclass(frozen=True)
class Equalised:
    """New layers by path, and what they do to values, by name."""

    layers: dict[str, Weighted]
    moves: dict[str, Move]


@torch.no_grad()
def value_equalised(
    network: Network,
    found: Sequence[Stream],
    bytes_behind: Collection[str],
    seen: Mapping[str, Channels],
    levels: int = 127,
) -> Equalised:
    """New layers in place of those that make or read equalised values.

    Args:
        network: batch-norm folded.
        found: the streams that may be changed.
        bytes_behind: the values that will be bytes; others have no say.
        seen: channels of the :func:`watched` values.
        levels: the largest integer of a weight.
    """
    layers: dict[str, Weighted] = {}
    moves: dict[str, Move] = {}

    def layer(path: str) -> Weighted:
        now = layers.get(path, network.layer(path))
        assert isinstance(now, Weighted)
        return now

    for stream in found:
        width = len(stored_of(layer(stream.producers[0])))
        shifts = centres(network, stream, seen)

        def centred(name: str, shifts: Mapping[str, Tensor] = shifts) -> Channels:
            return seen[name].moved(Move(shifts[name], torch.ones_like(shifts[name]))) if name in shifts else seen[name]

        here = [centred(name) for name in sorted(stream.names & {*bytes_behind})]
        peaks = [channels.peak.double() for channels in here if len(channels.low) == width]
        if not peaks:
            continue
        peak = torch.stack(peaks).amax(0)
        if not bool(peak.isfinite().all()) or not bool(peak.any()):
            continue
        read = {path: network.calls(path)[0].inputs[0] for path in stream.readers}
        capped = any(
            isinstance(network.get_submodule(node.layer), nn.ReLU6)
            for node in network.nodes
            if node.name in stream.names
        )
        readers = [Reader(layer(path), centred(name)) for path, name in read.items()]
        scale = best_scale(peak, readers, levels, 0.5 if capped else 1.0)
        if bool((scale == 1).all()) and not shifts:
            continue
        for name in stream.names:
            spread = scale.repeat_interleave(network.shapes()[name][0] // width)
            moves[name] = Move(shifts.get(name, torch.zeros_like(spread)), spread)
        for path in stream.producers:
            layers[path] = _made_so(layer(path), moves[network.calls(path)[0].name])
        for path, name in read.items():
            layers[path] = _read_so(layer(path), _spread(scale, layer(path)), shifts.get(name))
    return Equalised(layers, moves)


def _made_so(layer: Weighted, move: Move) -> Weighted:
    """A layer that makes the moved value."""
    stored = stored_of(layer).double()
    bias = None if layer.bias is None else layer.bias.double()
    if move.shift.any():
        bias = -move.shift if bias is None else bias - move.shift
    scale = move.scale.reshape(-1, *[1] * (stored.dim() - 1))
    return rebuilt(layer, stored / scale, None if bias is None else bias / move.scale)


def _read_so(layer: Weighted, scale: Tensor, shift: Tensor | None) -> Weighted:
    """A layer that makes of the moved value what the old one made of it; ``shift`` only for readers of all inputs."""
    bias = layer.bias
    if shift is not None:
        constant = weight_of(layer).double().flatten(1) @ shift
        bias = constant if bias is None else bias.double() + constant
    return rebuilt(layer, input_channels_times(stored_of(layer).double(), layer, scale), bias)


def centres(network: Network, stream: Stream, seen: Mapping[str, Channels]) -> dict[str, Tensor]:
    """The constants that are taken off the channels of a stream's values [C], by name; none where that cannot be.

    What a layer makes loses the middle of its range, and an addition what its inputs lose. That needs additions alone
    between the layers, and readers of one place that pad nothing and have one group.
    """
    shifts: dict[str, Tensor] = {}
    for path in stream.readers:
        layer = network.layer(path)
        if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.weight[0, 0].numel() > 1 or any(layer.padding)):
            return {}
    made = {network.calls(path)[0].name for path in stream.producers}
    for node in network.nodes:
        if node.name not in stream.names:
            continue
        if node.name in made:
            if node.name not in seen or not bool(seen[node.name].peak.isfinite().all()):
                return {}
            shifts[node.name] = (seen[node.name].low + seen[node.name].high).double() / 2
        elif isinstance(network.get_submodule(node.layer), Add):
            shifts[node.name] = torch.stack([shifts[name] for name in node.inputs]).sum(0)
        else:
            return {}
    return shifts


@dataclass(frozen=True)
class Reader:
    """A layer, and the channels of what it reads."""

    layer: Weighted
    seen: Channels

    @cached_property
    def kernels(self) -> tuple[Tensor, Tensor]:
        """(largest magnitude, sum of squares) of each kernel [outputs, inputs of a group], float64."""
        weight = weight_of(self.layer).detach()
        kernels = weight.reshape(*weight.shape[:2], -1)
        return kernels.abs().amax(2).double(), kernels.square().sum(2).double()


@torch.no_grad()
def best_scale(peak: Tensor, readers: Sequence[Reader], levels: int, most: float) -> Tensor:
    """Of the scales (m / M)^a with a = 0, 1/8, ... up to ``most``, those with the least error of the readers [C].

    All are 1 where that is more than half of the error that there is without any.

    Args:
        peak: largest magnitude of each channel [C].
        readers: layers that read the value, and what they read.
        levels: the largest integer of a weight.
    """
    # A channel that was always 0 tells nothing of what it reaches.
    candidates = [
        torch.where(peak > 0, (peak / peak.max()).pow(eighths / 8).clamp_min(1 / _MOST), 1.0)
        for eighths in range(int(8 * most) + 1)
    ]
    errors = [
        sum(relative_error(reader, float((peak / scale).max()) / 255, _spread(scale, reader.layer), levels)
            for reader in readers)
        for scale in candidates
    ]  # fmt: skip
    return candidates[errors.index(min(errors)) if min(errors) < _WORTH * errors[0] else 0]


@torch.no_grad()
def relative_error(reader: Reader, step: float, scale: Tensor, levels: int) -> float:
    """Variance of the error of one output, all rows together, over that of the output, inputs taken as independent.

    step: of the input's bytes, when each of its channels was divided by ``scale`` [inputs].
    """
    layer, seen = reader.layer, reader.seen
    largest, squares = reader.kernels
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    row_steps = input_channels_times(largest, layer, scale).amax(1).reshape(groups, -1) / levels
    variances = (seen.variance / scale.square()).reshape(groups, -1) * stored_of(layer)[0, 0].numel()
    of_weights = float((row_steps.square().sum(1) * variances.sum(1)).sum()) / 12
    of_values = step**2 / 12 * float(input_channels_times(squares, layer, scale.square() * seen.active).sum())
    output = float(input_channels_times(squares, layer, seen.variance).sum())
    return (of_weights + of_values) / output if output > 0 else 0.0


def _spread(scale: Tensor, layer: Weighted) -> Tensor:
    """A scale of channels for each input of a layer, which may read several places of a channel."""
    inputs = stored_of(layer).shape[1] * (layer.groups if isinstance(layer, nn.Conv2d) else 1)
    return scale.repeat_interleave(inputs // len(scale))
