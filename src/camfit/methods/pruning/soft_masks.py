"""A network whose channels, branches and blocks are each multiplied by a mask: which there are, and what they cost.

A channel's mask, and that of a concatenation's branch, multiplies what the layers behind read of it, so that it may be
folded into their weights and a zero is exactly an absence. A block's mask multiplies its output where it is added to
the shortcut, and may be folded into its last layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camfit.cost import macs
from camfit.errors import PlanError
from camfit.forms import attach, form_of, stored_of, weight_of
from camfit.graph import ChannelGroup
from camfit.methods.pruning.reader_weights import inputs_read, may_change, over_weight
from camfit.network import Add, Concat, Network, Node
from camfit.plan import DropBranch, KeepChannels, Plan
from camfit.surgery import apply
from camfit.surgery.branches import branch_readers, without_branch


@dataclass(frozen=True, eq=False)
class Unit:
    """What one or more masks hang on.

    Attributes:
        removal: the group whose channels they are, or the branch.
        size: masks: the group's channels, or one.
        reads: by layer that reads it, the number of the mask of each of its inputs, −1 for none [inputs].
        block: (the addition's call, the input that is multiplied, the layer that its mask is folded into), of a block.
    """

    removal: ChannelGroup | DropBranch
    size: int
    reads: dict[str, Tensor]
    block: tuple[str, int, str] | None = None


def maskable(network: Network, groups: Iterable[ChannelGroup], branches: bool) -> tuple[Unit, ...]:
    """Everything that a mask can be folded for: the groups whose readers' weights may change and, with ``branches``,
    the inputs of concatenations and the larger side of additions."""
    found: list[Unit] = []
    for group in groups:
        reads = inputs_read(network, group)
        if reads and all(may_change(network.layer(path)) for path in reads):
            found.append(Unit(group, len(group), reads))
    for node in network.nodes if branches else ():
        layer = network.layer(node.layer)
        if isinstance(layer, Concat):
            sides = (_concatenated(network, node, place) for place in range(len(node.inputs)))
            found += [side for side in sides if side is not None]
        elif isinstance(layer, Add):
            found += _block(network, node)
    return tuple(found)


def _concatenated(network: Network, node: Node, place: int) -> Unit | None:
    try:
        marked, groups = branch_readers(network, node.name, place)
        without_branch(network, node.name, place)
    except PlanError:
        return None
    reads: dict[str, Tensor] = {}
    for group in groups:
        for path, of_input in inputs_read(marked, group).items():
            here = torch.where(of_input >= 0, 0, -1)
            reads[path] = torch.maximum(reads[path], here) if path in reads else here
    if not reads or not all(may_change(network.layer(path)) for path in reads):
        return None
    return Unit(DropBranch(node.name, place), 1, reads)


def _block(network: Network, node: Node) -> list[Unit]:
    """The side of an addition whose removal saves the most, if any does and its mask can be folded."""
    layer_of = {call.name: call.layer for call in network.nodes}
    whole = sum(macs(network).values())
    saved: dict[int, int] = {}
    for place, name in enumerate(node.inputs):
        path = layer_of.get(name)
        if path is None or len(network.calls(path)) > 1 or node.inputs.count(name) > 1:
            continue
        layer = network.layer(path)
        scales = isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) or (
            isinstance(layer, nn.Conv2d | nn.Linear) and may_change(layer)
        )
        if scales and len(network.consumers(name)) == 1:
            try:
                saved[place] = whole - sum(macs(without_branch(network, node.name, place)).values())
            except PlanError:
                continue
    best = max(saved, key=lambda place: saved[place], default=None)
    if best is None or not saved[best]:
        return []
    return [Unit(DropBranch(node.name, best), 1, {}, (node.name, best, layer_of[node.inputs[best]]))]


class MaskedNetwork:
    """The network under masks; its weights may be trained along with them.

    Args:
        network: stays as it is.
        units: what is masked; the masks of all are one vector, in their order.
    """

    def __init__(self, network: Network, units: tuple[Unit, ...]) -> None:
        self.units = units
        self.network = network.clone().eval()
        for layer in self.network.weighted().values():
            attach(layer, None, weight_of(layer).detach())
        for path, layer in self.network.layers():
            layer.requires_grad_(path not in network.weighted() or may_change(network.layer(path)))
        self._original = network
        self._blocks = {
            unit.block[0]: (unit.block[1], place)
            for unit, place in zip(units, self.starts(), strict=True)
            if unit.block is not None
        }

    def starts(self) -> list[int]:
        """The place of each unit's first mask."""
        starts = [0]
        for unit in self.units:
            starts.append(starts[-1] + unit.size)
        return starts[:-1]

    def __len__(self) -> int:
        return sum(unit.size for unit in self.units)

    def sizes(self) -> Tensor:
        """For each mask, how many its unit has [masks]."""
        return torch.tensor([float(unit.size) for unit in self.units for _ in range(unit.size)])

    def parameters(self) -> list[nn.Parameter]:
        """What may be trained besides the masks."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def factors(self, masks: Tensor) -> dict[str, Tensor]:
        """By layer, what each of its inputs is multiplied by [inputs]."""
        found: dict[str, Tensor] = {}
        for unit, start in zip(self.units, self.starts(), strict=True):
            own = torch.cat([masks[start : start + unit.size], masks.new_ones(1)])
            for path, of_input in unit.reads.items():
                found[path] = found[path] * own[of_input] if path in found else own[of_input]
        return found

    def outputs(self, inputs: Tensor, masks: Tensor) -> Tensor:
        """The network's outputs under the masks [masks]."""
        factors = self.factors(masks)
        values = {"input": inputs}
        for node in self.network.nodes:
            parts = [values[name] for name in node.inputs]
            if node.layer in factors:
                parts[0] = parts[0] * factors[node.layer].reshape(-1, *[1] * (parts[0].dim() - 2))
            if node.name in self._blocks:
                place, mask = self._blocks[node.name]
                parts[place] = parts[place] * masks[mask]
            values[node.name] = self.network.get_submodule(node.layer)(*parts)
        return values[self.network.nodes[-1].name]

    @torch.no_grad()
    def settle(self) -> None:
        """Puts pruned weights back to zero, after a step of an optimiser."""
        for path, layer in self._original.weighted().items():
            form = form_of(layer)
            if form is not None and (zeros := form.zeros()) is not None and may_change(layer):
                stored_of(self.network.layer(path))[zeros] = 0

    @torch.no_grad()
    def folded(self, masks: Tensor) -> Network:
        """The original network, forms and all, with the trained values and the masks multiplied in."""
        result = self._original.clone()
        factors = self.factors(masks)
        scales = {
            unit.block[2]: masks[start] for unit, start in zip(self.units, self.starts(), strict=True) if unit.block
        }
        for path, layer in result.layers():
            trained, scale = self.network.layer(path), scales.get(path, masks.new_ones(()))
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
                assert isinstance(trained, nn.BatchNorm2d | nn.BatchNorm1d)
                layer.weight.copy_(trained.weight * scale)
                layer.bias.copy_(trained.bias * scale)
            elif isinstance(layer, nn.Conv2d | nn.Linear) and may_change(layer):
                assert isinstance(trained, nn.Conv2d | nn.Linear)
                weight = trained.weight * scale
                if path in factors:
                    weight = weight * over_weight(layer, factors[path])
                attach(layer, form_of(layer), weight)
                if layer.bias is not None and trained.bias is not None:
                    layer.bias.copy_(trained.bias * scale)
        return result

    def cut(self, kept: Tensor) -> Plan:
        """Removes what is not kept [masks]: groups lose channels, additions and concatenations lose branches."""
        channels: list[tuple[ChannelGroup, tuple[int, ...]]] = []
        drops: list[DropBranch] = []
        bare = self._original
        # From the output on: a branch that goes takes the joins inside it along.
        for unit, start in sorted(zip(self.units, self.starts(), strict=True), key=lambda pair: -self._at(pair[0])):
            stay = tuple(kept[start : start + unit.size].nonzero().flatten().tolist())
            if isinstance(unit.removal, ChannelGroup):
                channels.append((unit.removal, stay))
            elif not stay and unit.removal.join in {node.name for node in bare.nodes}:
                try:
                    bare = apply(bare, Plan("masks", (unit.removal,)))
                except PlanError:
                    continue  # tied to what other drops have left
                drops.append(unit.removal)
        alive = set(bare.layer_paths())
        keeps = [
            KeepChannels(group.name, stay)
            for group, stay in reversed(channels)
            if len(stay) < len(group) and any(slot.layer in alive for slot in group.producers)
        ]
        return Plan("masks", (*keeps, *drops))

    def _at(self, unit: Unit) -> float:
        """When it is executed; later inputs of one join come after earlier ones."""
        names = [node.name for node in self._original.nodes]
        if isinstance(unit.removal, DropBranch):
            return names.index(unit.removal.join) + unit.removal.branch / 100
        paths = [node.layer for node in self._original.nodes]
        return paths.index(unit.removal.name.partition("#")[0])
