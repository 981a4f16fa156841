"""Pruning that looks at the next layer: what a group's readers compute, sampled, and their weights fitted to it again.

ThiNet and channel pruning by LASSO choose channels, group after group, by how well the layers that read them can still
give their outputs. What they share is here: samples of those layers, and the plan that goes through the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.forms import Masked, attach, form_of, weight_of
from camfit.forms.sign import sign
from camfit.graph import ChannelGroup, Graph, Slot
from camfit.layers import BinaryConv2d, BinaryLinear, pair
from camfit.method import Calibration
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable
from camfit.methods.pruning.l1_filters import places
from camfit.methods.pruning.plan_channels import Scores, asked_curves, channel_plan, kept_counts
from camfit.network import Add, Network, Node
from camfit.plan import KeepChannels, Plan, SetValues
from camfit.surgery import apply

_BATCH = 64


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
    """

    layer: str
    inputs: Tensor
    weight: Tensor
    target: Tensor
    free: bool

    def parts(self) -> Tensor:
        """What each channel adds to each output [channels, samples, outputs]."""
        return torch.einsum("sct,oct->cso", self.inputs, self.weight)


Select = Callable[[list[Reader], int], tuple[int, ...]]
"""(readers, how many to keep) -> the channels to keep, ascending."""

Rebuild = Callable[[Reader, Tensor], Tensor]
"""(reader, channels kept) -> its new weight for them [outputs, kept, taps]."""


@torch.no_grad()
def plan_reconstructing(
    options: ChannelBudget,
    network: Network,
    calibration: Calibration,
    locations: int,
    score: Callable[[list[Reader]], Tensor],
    select: Select,
    rebuild: Rebuild,
    why: str,
    original_targets: bool,
) -> Plan:
    """Goes through the groups in execution order: samples their readers in the network cut so far, chooses, rebuilds.

    Args:
        locations: output pixels of a reader that are sampled of each calibration image.
        score: of each channel of a group, in the whole network; how the budget is shared where it compares groups.
        original_targets: readers shall give what they gave in the whole network, what a residual sum's other side has
            lost included; otherwise what they give in the network cut so far.
    """
    graph = Graph.of(network)
    groups = cuttable(options, network, graph)
    whole = network.clone().eval()
    scores: Scores = {}
    for group in groups:
        seen = readers(whole, whole, group, calibration, locations, {})
        scores[group.name] = score(seen) if seen else torch.zeros(len(group))  # what nobody reads is worth nothing
    curves = asked_curves(options, network, groups, scores, calibration)
    counts = kept_counts(options, network, graph, groups, calibration, scores, curves=curves)
    work = whole.clone()
    rows: dict[str, Tensor] = {}
    keep: dict[str, tuple[int, ...]] = {}
    changed: dict[str, None] = {}
    for group in groups:
        if counts[group.name] == len(group):
            keep[group.name] = tuple(range(len(group)))
            continue
        present = Graph.of(work).group(group.name)
        seen = readers(
            whole if original_targets else work, work, present, calibration, locations, rows if original_targets else {}
        )
        keep[group.name] = select(seen, counts[group.name]) if seen else tuple(range(counts[group.name]))
        kept = torch.tensor(keep[group.name])
        fitted = {reader.layer: rebuild(reader, kept) for reader in seen if _may_change(work, reader.layer)}
        work = apply(work, Plan(options.NAME, (KeepChannels(group.name, keep[group.name]),)))
        for slot in present.producers:
            before = rows.get(slot.layer, torch.arange(_outputs(network, slot.layer)))
            gone = {
                place for channel in set(range(len(group))) - set(keep[group.name]) for place in slot.positions[channel]
            }
            rows[slot.layer] = before[[place for place in range(len(before)) if place not in gone]]
        for slot in Graph.of(work).group(group.name).consumers:
            if slot.layer in fitted:
                _put(work, slot, fitted[slot.layer])
                changed[slot.layer] = None
    plan = channel_plan(options.NAME, groups, keep, scores, why, curves)
    edits = tuple(SetValues(f"{path}.weight", weight_of(work.layer(path)).detach().clone()) for path in changed)
    return replace(plan, edits=plan.edits + edits)


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
    made = {slot.layer for slot in group.producers}
    slots = [slot for slot in group.consumers if slot.layer not in made]
    generator = torch.Generator().manual_seed(calibration.seed)
    gathered: dict[str, list[tuple[Tensor, Tensor]]] = {slot.layer: [] for slot in slots}
    for inputs in calibration.inputs.split(_BATCH):
        now = network.values(inputs)
        then = now if target is network else target.values(inputs)
        for slot in slots:
            layer = network.layer(slot.layer)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            for call in network.calls(slot.layer):
                patches, at = _patches(layer, now[call.inputs[0]], locations, generator)
                wanted = _wanted(network, then, now, call, rows) - (
                    0 if layer.bias is None else _column(layer.bias, then[call.name])
                )
                outputs = wanted.flatten(2).permute(0, 2, 1) if wanted.dim() == 4 else wanted[:, None]
                picked = outputs[torch.arange(len(outputs))[:, None], at]
                gathered[slot.layer].append((patches.flatten(0, 1).double(), picked.flatten(0, 1).double()))
    found: list[Reader] = []
    for slot in slots:
        layer = network.layer(slot.layer)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        patches = torch.cat([patch for patch, _ in gathered[slot.layer]])
        outputs = torch.cat([output for _, output in gathered[slot.layer]])
        weight = _dense(layer)
        own = places(slot)
        others = torch.ones(weight.shape[1], dtype=torch.bool)
        others[own.flatten()] = False
        rest = torch.einsum("sct,oct->so", patches[:, others], weight[:, others])
        free = form_of(layer) is None and not (isinstance(layer, nn.Conv2d) and layer.groups > 1)
        found.append(Reader(slot.layer, patches[:, own].flatten(2), weight[:, own].flatten(2), outputs - rest, free))
    return found


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
    layer: nn.Conv2d | nn.Linear, x: Tensor, locations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What the layer reads at some output pixels [N, locations, inputs, taps], and which pixels [N, locations]."""
    if isinstance(layer, BinaryConv2d | BinaryLinear):
        x = sign(x)
    if isinstance(layer, nn.Linear):
        return x[:, None, :, None], torch.zeros(len(x), 1, dtype=torch.int64)
    columns = F.unfold(x, pair(layer.kernel_size), pair(layer.dilation), pair(layer.padding), pair(layer.stride))
    pixels = columns.shape[2]
    count = min(locations, pixels)
    at = torch.rand(len(x), pixels, generator=generator).topk(count, 1).indices
    picked = columns.gather(2, at[:, None].expand(-1, columns.shape[1], -1))
    return picked.permute(0, 2, 1).reshape(len(x), count, x.shape[1], -1), at


def _dense(layer: nn.Conv2d | nn.Linear) -> Tensor:
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


def _put(network: Network, slot: Slot, values: Tensor) -> None:
    """Sets the weight that a layer has for the group's channels [outputs, channels, taps of all places]."""
    layer = network.layer(slot.layer)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    whole, own = _dense(layer), places(slot)
    outputs, _, taps = whole.shape
    whole[:, own] = values.reshape(outputs, own.shape[0], own.shape[1], taps)
    weight = weight_of(layer)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    parts = [
        part[:, number * part.shape[1] // groups : (number + 1) * part.shape[1] // groups]
        for number, part in enumerate(whole.chunk(groups))
    ]
    attach(layer, form_of(layer), torch.cat(parts).reshape(weight.shape).to(weight))


def _may_change(network: Network, path: str) -> bool:
    form = form_of(network.layer(path))
    return form is None or isinstance(form, Masked)


def _outputs(network: Network, path: str) -> int:
    layer = network.layer(path)
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        return layer.num_features
    return weight_of(layer).shape[0]


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 2))


def output_error(found: Iterable[Reader], weights: dict[str, Tensor], keep: Tensor) -> float:
    """Squared error of the readers' outputs with these weights for kept channels, as a share of the outputs' power."""
    error = power = 0.0
    for reader in found:
        given = torch.einsum("sct,oct->so", reader.inputs[:, keep], weights[reader.layer])
        error += float((reader.target - given).square().sum())
        power += float(reader.target.square().sum())
    return error / max(power, 1e-30)
