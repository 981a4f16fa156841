"""Pruning that looks at the next layer: what a group's readers compute, sampled, and their weights fitted to it again.

ThiNet and channel pruning by LASSO choose channels, group after group, by how well the layers that read them can still
give their outputs. What they share is here: the plan that goes through the groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from camfit.budget import Curve, highest
from camfit.forms import Masked, attach, form_of, weight_of
from camfit.graph import ChannelGroup, Graph, Slot
from camfit.method import Calibration
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable
from camfit.methods.pruning.l1_filters import places
from camfit.methods.pruning.plan_channels import Scores, channel_plan, kept_counts, needs_curves
from camfit.methods.pruning.reader_samples import Reader, dense, readers_ahead
from camfit.methods.pruning.values_walk import ValuesWalk
from camfit.network import Network
from camfit.plan import KeepChannels, Plan, SetValues
from camfit.surgery import apply

# Shares of a group that its sensitivity curve is measured at, and which of the images say the loss: one in so many, at
# most so many. Nothing is fitted to these: a fit to few images is far better on them than on others.
_RATIOS, _JUDGING, _MOST_JUDGING = (0.2, 0.4, 0.6), 4, 64

Select = Callable[[list[Reader], int], tuple[int, ...]]
"""(readers, how many to keep) -> the channels to keep, ascending."""


@dataclass(frozen=True)
class Rebuilt:
    """A reader's new weight for the kept channels [outputs, kept, taps], and what its bias grows by [outputs]."""

    weight: Tensor
    bias: Tensor | None = None


Rebuild = Callable[[Reader, Tensor], Rebuilt]
"""(reader, channels kept) -> its weight for them."""


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
    comparable: bool = False,
) -> Plan:
    """Goes through the groups in execution order: samples their readers in the network cut so far, chooses, rebuilds.

    Args:
        locations: output pixels of a reader that are sampled of each calibration image.
        score: of each channel of a group, in the whole network; how the budget is shared where it compares groups.
        original_targets: readers shall give what they gave in the whole network, what a residual sum's other side has
            lost included; otherwise what they give in the network cut so far.
        comparable: scores of different groups mean the same.
    """
    graph = Graph.of(network)
    groups = cuttable(options, network, graph)
    whole = network.clone().eval()
    judging = _Judging(whole, calibration) if needs_curves(options) and len(calibration.inputs) >= _JUDGING else None
    fitting = calibration.first(len(calibration.inputs) - (0 if judging is None else len(judging.inputs)))
    walk = ValuesWalk(whole, fitting.inputs)
    scores: Scores = {}
    curves: dict[str, Curve] = {}
    for group in groups:
        walk.go_to(whole, _front(whole, group))
        seen = readers_ahead((whole, walk), (whole, walk), group, calibration.seed, locations, {})
        scores[group.name] = score(seen) if seen else torch.zeros(len(group))  # what nobody reads is worth nothing
        if judging is not None:
            curves[group.name] = _curve(options, whole, group, scores[group.name], seen, rebuild, judging)
    counts = kept_counts(options, network, graph, groups, calibration, scores, comparable, curves)
    work = whole.clone()
    walks = ValuesWalk(whole, calibration.inputs), ValuesWalk(work, calibration.inputs)
    rows: dict[str, Tensor] = {}
    keep: dict[str, tuple[int, ...]] = {}
    changed: dict[str, None] = {}
    for group in groups:
        if counts[group.name] == len(group):
            keep[group.name] = tuple(range(len(group)))
            continue
        front = _front(work, group)
        walks[1].go_to(work, front)
        present = work, walks[1]
        if original_targets:
            walks[0].go_to(whole, front)
        target, known = ((whole, walks[0]), rows) if original_targets else (present, {})
        own = Graph.of(work).group(group.name)
        seen = readers_ahead(target, present, own, calibration.seed, locations, known)
        keep[group.name] = select(seen, counts[group.name]) if seen else tuple(range(counts[group.name]))
        work, fitted = _cut(options.NAME, work, own, keep[group.name], seen, rebuild)
        changed |= dict.fromkeys(fitted)
        for slot in own.producers:
            before = rows.get(slot.layer, torch.arange(_outputs(network, slot.layer)))
            gone = {
                place for channel in set(range(len(group))) - set(keep[group.name]) for place in slot.positions[channel]
            }
            rows[slot.layer] = before[[place for place in range(len(before)) if place not in gone]]
    plan = channel_plan(options.NAME, groups, keep, scores, why, curves)
    return replace(plan, edits=plan.edits + tuple(_edits(work, changed)))


def _front(network: Network, group: ChannelGroup) -> int:
    """Number of the first node that a cut of the group changes."""
    touched = {slot.layer for slot in group.slots}
    return next(number for number, node in enumerate(network.nodes) if node.layer in touched)


def _cut(
    method: str, work: Network, group: ChannelGroup, keep: tuple[int, ...], seen: list[Reader], rebuild: Rebuild
) -> tuple[Network, tuple[str, ...]]:
    """A network without the group's other channels, its readers rebuilt, and which those are."""
    kept = torch.tensor(keep)
    fitted = {reader.layer: rebuild(reader, kept) for reader in seen if _may_change(work, reader.layer)}
    cut = apply(work, Plan(method, (KeepChannels(group.name, keep),)))
    for slot in Graph.of(cut).group(group.name).consumers:
        if slot.layer in fitted:
            _put(cut, slot, fitted[slot.layer])
    return cut, tuple(fitted)


class _Judging:
    """Images that say what a cut costs, the last ones of the calibration, and the whole network's values there."""

    def __init__(self, whole: Network, calibration: Calibration) -> None:
        count = min(_MOST_JUDGING, len(calibration.inputs) // _JUDGING)
        self.inputs, self._targets = calibration.inputs[-count:], calibration.targets[-count:]
        self._loss, self._whole = calibration.loss, whole
        self._walk = ValuesWalk(whole, self.inputs)

    def loss(self, network: Network, front: int) -> float:
        """Mean loss of a network that differs from the whole one behind the node number ``front`` alone."""
        self._walk.go_to(self._whole, front)
        return float(self._loss(self._walk.outputs(network), self._targets))


def _curve(
    options: ChannelBudget,
    whole: Network,
    group: ChannelGroup,
    scores: Tensor,
    seen: list[Reader],
    rebuild: Rebuild,
    judging: _Judging,
) -> Curve:
    """(fraction removed, mean loss on the judging images) of the group cut alone, its readers rebuilt.

    The last point removes all channels but one.
    """
    size, front = len(group), _front(whole, group)
    curve = [(0.0, judging.loss(whole, front))]
    for count in sorted({*(math.floor(ratio * size + 1e-9) for ratio in _RATIOS), size - 1} - {0}):
        cut, _ = _cut(options.NAME, whole, group, highest(scores, size - count), seen, rebuild)
        curve.append((count / size, judging.loss(cut, front)))
    return curve


def _edits(network: Network, changed: Iterable[str]) -> Iterable[SetValues]:
    """The values that layers have got."""
    for path in changed:
        layer = network.layer(path)
        yield SetValues(f"{path}.weight", weight_of(layer).detach().clone())
        if isinstance(layer.bias, Tensor):
            yield SetValues(f"{path}.bias", layer.bias.detach().clone())


def _put(network: Network, slot: Slot, rebuilt: Rebuilt) -> None:
    """Sets what a layer has for the group's channels."""
    layer = network.layer(slot.layer)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    whole, own = dense(layer), places(slot)
    outputs, _, taps = whole.shape
    whole[:, own] = rebuilt.weight.reshape(outputs, own.shape[0], own.shape[1], taps)
    weight = weight_of(layer)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    parts = [
        part[:, number * part.shape[1] // groups : (number + 1) * part.shape[1] // groups]
        for number, part in enumerate(whole.chunk(groups))
    ]
    attach(layer, form_of(layer), torch.cat(parts).reshape(weight.shape).to(weight))
    if rebuilt.bias is not None and layer.bias is not None:
        layer.bias += rebuilt.bias.to(layer.bias)


def _may_change(network: Network, path: str) -> bool:
    form = form_of(network.layer(path))
    return form is None or isinstance(form, Masked)


def _outputs(network: Network, path: str) -> int:
    layer = network.layer(path)
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        return layer.num_features
    return weight_of(layer).shape[0]


def output_error(found: Iterable[Reader], weights: dict[str, Tensor], keep: Tensor) -> float:
    """Squared error of the readers' outputs with these weights for kept channels, as a share of the outputs' power."""
    error = power = 0.0
    for reader in found:
        given = torch.einsum("sct,oct->so", reader.inputs[:, keep], weights[reader.layer])
        error += float((reader.target - given).square().sum())
        power += float(reader.target.square().sum())
    return error / max(power, 1e-30)
