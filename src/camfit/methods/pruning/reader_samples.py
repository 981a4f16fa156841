"""Samples of the layers that read a group's channels: what they read, and what they should give for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.forms import form_of, weight_of
from camfit.forms.sign import sign
from camfit.graph import ChannelGroup, Slot
from camfit.layers import BinaryConv2d, BinaryLinear, pair
from camfit.method import Calibration
from camfit.methods.pruning.l1_filters import places
from camfit.methods.pruning.values_walk import ValuesWalk
from camfit.network import Add, Network, Node


@dataclass(frozen=True)
class Reader:
    """Samples of a layer that reads a group's channels.

    Attributes:
        layer: its path.
        inputs: what it read of each channel [samples, channels, taps], taps over all places of the channel.
        weight: its weight for these [outputs, channels, taps]; zero where an output does not read a channel.
        target: what it should give, less the bias and what it reads of other groups [samples, outputs].
        free: its weight is dense, in one group, and may become anything; otherwise it may be scaled or, in some forms,
            stays as it is.
        biased: it has a bias, which may change with the weight.
    """

    layer: str
    inputs: Tensor
    weight: Tensor
    target: Tensor
    free: bool
    biased: bool = False

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """(XᵀX [channels, taps, channels, taps], XᵀY [channels, taps, outputs]) of the inputs and the target.

        Around their means where the layer has a bias, which makes up for those: the moments of a fit with intercept.
        """
        inputs, target = self.inputs, self.target
        if self.free and self.biased:
            inputs, target = inputs - inputs.mean(0), target - target.mean(0)
        _, channels, taps = inputs.shape
        flat = inputs.flatten(1)
        return (flat.T @ flat).reshape(channels, taps, channels, taps), (flat.T @ target).reshape(channels, taps, -1)

    @cached_property
    def power(self) -> float:
        """Σ y² of the target, around its mean where the layer has a bias."""
        around = self.target.mean(0) if self.free and self.biased else 0.0
        return float((self.target - around).square().sum())

    def added_gram(self) -> Tensor:
        """Σ over samples and outputs of what two channels add there, multiplied [channels, channels]."""
        inputs, _ = self.moments
        gram = torch.zeros(inputs.shape[0], inputs.shape[0], dtype=inputs.dtype)
        for first in range(inputs.shape[1]):
            for second in range(inputs.shape[1]):
                gram += (self.weight[:, :, first].T @ self.weight[:, :, second]) * inputs[:, first, :, second]
        return gram


@torch.no_grad()
def readers(
    target: Network,
    network: Network,
    group: ChannelGroup,
    calibration: Calibration,
    locations: int,
    rows: dict[str, Tensor],
) -> list[Reader]:
    """Samples of every layer that reads the group's channels and does not hand them on (as depth-wise ones do).

    Args:
        target: the network whose outputs are to be given; ``network`` itself, or the one it was cut from.
        network: whose readers are sampled.
        rows: by layer of ``network``, which of the target's outputs its outputs are, where some are gone.
    """
    now = ValuesWalk(network, calibration.inputs)
    then = now if target is network else ValuesWalk(target, calibration.inputs)
    return readers_ahead((target, then), (network, now), group, calibration.seed, locations, rows)


@torch.no_grad()
def readers_ahead(
    target: tuple[Network, ValuesWalk],
    present: tuple[Network, ValuesWalk],
    group: ChannelGroup,
    seed: int,
    locations: int,
    rows: dict[str, Tensor],
) -> list[Reader]:
    """:func:`readers` from where the networks' walks are, which is in front of the group's first call."""
    network = present[0]
    slots = reading_slots(group)
    generator = torch.Generator().manual_seed(seed)
    numbers = {node.name: number for number, node in enumerate(network.nodes)}
    stop = 1 + max((numbers[_end(network, call)] for slot in slots for call in network.calls(slot.layer)), default=-1)
    gathered: dict[str, list[tuple[Tensor, Tensor]]] = {slot.layer: [] for slot in slots}
    for part in present[1].batches():
        now = present[1].values(network, stop, part)
        then = now if target[0] is network else target[1].values(target[0], stop, part)
        for slot in slots:
            layer = network.layer(slot.layer)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            for call in network.calls(slot.layer):
                patches, at = _patches(layer, now[call.inputs[0]], now[call.name], locations, generator)
                wanted = _wanted(network, then, now, call, rows) - (
                    0 if layer.bias is None else _column(layer.bias, then[call.name])
                )
                outputs = wanted.flatten(2).permute(0, 2, 1) if wanted.dim() == 4 else wanted[:, None]
                picked = outputs[torch.arange(len(outputs))[:, None], at]
                gathered[slot.layer].append((patches.flatten(0, 1).double(), picked.flatten(0, 1).double()))
    return [_reader(network, slot, gathered.pop(slot.layer)) for slot in slots]


def reading_slots(group: ChannelGroup) -> list[Slot]:
    """Of the layers that read the group's channels and do not hand them on."""
    made = {slot.layer for slot in group.producers}
    return [slot for slot in group.consumers if slot.layer not in made]


def _reader(network: Network, slot: Slot, gathered: list[tuple[Tensor, Tensor]]) -> Reader:
    layer = network.layer(slot.layer)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    patches = torch.cat([patch for patch, _ in gathered])
    outputs = torch.cat([output for _, output in gathered])
    weight = dense(layer)
    own = places(slot)
    others = torch.ones(weight.shape[1], dtype=torch.bool)
    others[own.flatten()] = False
    if bool(others.any()):
        outputs = outputs - torch.einsum("sct,oct->so", patches[:, others], weight[:, others])
    free = form_of(layer) is None and not (isinstance(layer, nn.Conv2d) and layer.groups > 1)
    return Reader(
        slot.layer, patches[:, own].flatten(2), weight[:, own].flatten(2), outputs, free, layer.bias is not None
    )


def _end(network: Network, call: Node) -> str:
    """The residual sum in front of which :func:`_wanted` finds the call, otherwise the call itself."""
    name = call.name
    while len(following := network.consumers(name)) == 1:
        layer = network.layer(following[0].layer)
        if isinstance(layer, Add):
            return following[0].name
        if not isinstance(layer, nn.BatchNorm2d):
            break
        name = following[0].name
    return call.name


def _wanted(
    network: Network, then: dict[str, Tensor], now: dict[str, Tensor], call: Node, rows: dict[str, Tensor]
) -> Tensor:
    """What a call should give: its value then and, in front of a residual sum, what the sum's other side has lost.

    He, Zhang, Sun, ICCV 2017, section 3.3: the last layer of a branch aims at Y1 − Y1′ + Y2.
    """
    kept = rows.get(call.layer)
    wanted = then[call.name] if kept is None else then[call.name][:, kept]
    name, factor = call.name, None
    while len(following := network.consumers(name)) == 1:
        layer = network.layer(following[0].layer)
        if isinstance(layer, nn.BatchNorm2d) and factor is None:
            assert layer.running_var is not None
            factor = layer.weight / (layer.running_var + layer.eps).sqrt()
            name = following[0].name
        elif isinstance(layer, Add):
            other = next((value for value in following[0].inputs if value != name), None)
            if other is None:
                return wanted
            lost = (then[other] if kept is None else then[other][:, kept]) - now[other]
            if factor is None:
                return wanted + lost
            safe = torch.where(factor.abs() > 1e-3, factor, torch.inf)
            return wanted + lost / _column(safe, lost)
        else:
            return wanted
    return wanted


def _patches(
    layer: nn.Conv2d | nn.Linear, x: Tensor, y: Tensor, locations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What the layer reads at some output pixels [N, locations, inputs, taps], and which pixels [N, locations].

    Args:
        x, y: what the layer reads and gives.
    """
    if isinstance(layer, BinaryConv2d | BinaryLinear):
        x = sign(x)
    if isinstance(layer, nn.Linear):
        return x[:, None, :, None], torch.zeros(len(x), 1, dtype=torch.int64)
    height, width = y.shape[2:]
    at = torch.rand(len(x), height * width, generator=generator).topk(min(locations, height * width), 1).indices
    down, right = pair(layer.padding)
    x = F.pad(x, (right, right, down, down))
    rows, columns = (
        places[:, :, None] * stride + torch.arange(kernel) * dilation
        for places, stride, kernel, dilation in zip(
            (at // width, at % width),
            pair(layer.stride),
            pair(layer.kernel_size),
            pair(layer.dilation),
            strict=True,
        )
    )
    pixels = (rows[:, :, :, None] * x.shape[3] + columns[:, :, None, :]).flatten(1)
    picked = x.flatten(2).gather(2, pixels[:, None].expand(-1, x.shape[1], -1))
    return picked.reshape(len(x), x.shape[1], at.shape[1], -1).permute(0, 2, 1, 3), at


def dense(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """The weight as [outputs, all inputs, taps] of float64, zero where a group does not read."""
    weight = weight_of(layer).detach().double()
    weight = weight.flatten(2) if weight.dim() == 4 else weight[:, :, None]
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    if groups == 1:
        return weight
    outputs, width, taps = weight.shape
    whole = weight.new_zeros(outputs, width * groups, taps)
    for number in range(groups):
        of_group = slice(number * outputs // groups, (number + 1) * outputs // groups)
        whole[of_group, number * width : (number + 1) * width] = weight[of_group]
    return whole


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 2))
