"""Which channels must be cut together: value shapes and coupled channel groups of a network.

Every channel of every value carries an id. Convolutions and linear layers give their outputs fresh ids; elementwise
layers hand ids on; flatten repeats an image channel's id once for each of its pixels; concatenation appends. Ids are
tied (union-find) where one channel cannot go without the other: across additions, from a depth-wise convolution's
input to its outputs, at equal places of a grouped convolution's or a channel shuffle's groups, and between the calls of
a shared layer. A *channel* is a class of tied ids; a *group* is all channels that occupy the same dimensions of the
same layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from camfit.errors import PlanError
from camfit.forms import Hashed, form_of
from camfit.layers import kind_of
from camfit.network import INPUT, Add, Concat, Network

Ids = npt.NDArray[np.int64]
Dimension = Literal["out", "in"]


@dataclass(frozen=True)
class Slot:
    """Where a group's channels sit in one layer.

    Attributes:
        layer: the layer's path.
        dimension: ``out``: rows of the weight, bias, batch-norm's vectors; ``in``: what the layer reads.
        positions: for each channel of the group, its places among the layer's output or input channels: one or, behind
            a flatten or in a grouped convolution, several; equally many for every channel.
    """

    layer: str
    dimension: Dimension
    positions: tuple[tuple[int, ...], ...]

    @property
    def width(self) -> int:
        """Places that one channel takes here."""
        return len(self.positions[0])

    def __str__(self) -> str:
        return f"{self.layer}.{self.dimension}" + (f" ×{self.width}" if self.width > 1 else "")


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are cut in the same places, named after the first layer that produces them."""

    name: str
    slots: tuple[Slot, ...]

    def __len__(self) -> int:
        return len(self.slots[0].positions)

    @property
    def producers(self) -> tuple[Slot, ...]:
        """The slots that compute the channels or rescale them (batch-norm)."""
        return tuple(slot for slot in self.slots if slot.dimension == "out")

    @property
    def consumers(self) -> tuple[Slot, ...]:
        """The slots that read the channels."""
        return tuple(slot for slot in self.slots if slot.dimension == "in")

    def __str__(self) -> str:
        return f"group {self.name!r}: {len(self)} channels at {', '.join(map(str, self.slots))}"


@dataclass(frozen=True)
class Frozen:
    """Why some of a layer's output channels cannot be cut, and the layer to blame (None: an end of the network)."""

    reason: str
    cause: str | None


@dataclass(frozen=True)
class Graph:
    """Shapes and channel groups of one network. It describes the network that it was made of, not one cut since.

    Attributes:
        shapes: shape of every value for one image, by node name, the input included.
        groups: what can be cut, in execution order.
        frozen: by layer path, why (some of) its output channels belong to no group.
    """

    shapes: MappingProxyType[str, tuple[int, ...]]
    groups: tuple[ChannelGroup, ...]
    frozen: MappingProxyType[str, Frozen]

    @staticmethod
    def of(network: Network) -> Graph:
        """Finds the groups. The network stays as it is.

        Raises:
            ModelError: the network holds a layer that camfit does not know, or does not run.
        """
        return _Builder(network).graph()

    @property
    def frozen_reasons(self) -> dict[str, str]:
        """By layer path, a sentence that says why its output channels (or some of them) cannot be cut."""
        return {path: frozen.reason for path, frozen in self.frozen.items()}

    def group(self, name: str) -> ChannelGroup:
        """The group called ``name``.

        Raises:
            PlanError: there is none; says why its layer is frozen, or lists all groups.
        """
        for group in self.groups:
            if group.name == name:
                return group
        if name in self.frozen:
            raise PlanError(f"no channel group {name!r}: {self.frozen[name].reason}")
        known = ", ".join(repr(group.name) for group in self.groups) or "none"
        raise PlanError(f"no channel group {name!r}; the network has {known}")

    def groups_of(self, layer: str) -> tuple[ChannelGroup, ...]:
        """The groups that cut output channels of ``layer``."""
        return tuple(group for group in self.groups if any(slot.layer == layer for slot in group.producers))

    def __str__(self) -> str:
        frozen = [f"frozen {path!r}: {reason}" for path, reason in self.frozen_reasons.items()]
        return "\n".join([*map(str, self.groups), *frozen])


class _UnionFind:
    """Disjoint sets over growing integers; a set's root is its smallest member."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def fresh(self, count: int) -> Ids:
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def find(self, member: int) -> int:
        root = member
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[member] != root:
            self._parent[member], member = root, self._parent[member]
        return root

    def tie(self, a: Ids, b: Ids) -> None:
        """Unites the sets of a[i] and b[i] for every i."""
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            low, high = sorted((self.find(x), self.find(y)))
            self._parent[high] = low


class _Builder:
    """One walk through a network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = network.shapes()
        self.sets = _UnionFind()
        # Ids at each dimension of each layer that has channels of its own, in order of first execution.
        self.places: dict[tuple[str, Dimension], Ids] = {}
        self.freezes: list[tuple[Ids, Frozen]] = []
        self.shuffles: list[tuple[str, Ids]] = []

    def graph(self) -> Graph:
        image = self.sets.fresh(self.shapes[INPUT][0])
        self.freezes.append((image, Frozen("its channels are tied to the network's input", None)))
        values = {INPUT: image}
        for node in self.network.nodes:
            layer = self.network.get_submodule(node.layer)
            values[node.name] = self._call(node.layer, layer, [values[name] for name in node.inputs], node.inputs)
        output = values[self.network.nodes[-1].name]
        self.freezes.insert(0, (output, Frozen("its channels reach the network's output", None)))
        return self._collect()

    # -- the walk ----------------------------------------------------------------------------------------------

    def _call(self, path: str, layer: nn.Module, inputs: list[Ids], names: tuple[str, ...]) -> Ids:
        """Ids of the call's value."""
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return self._weighted(path, layer, inputs[0])
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            self._place(path, "out", inputs[0])
        elif isinstance(layer, Add):
            self.sets.tie(inputs[0], inputs[1])
        elif isinstance(layer, Concat):
            return np.concatenate(inputs)
        elif isinstance(layer, nn.Flatten):
            return np.repeat(inputs[0], int(np.prod(self.shapes[names[0]][1:])))
        elif isinstance(layer, nn.ChannelShuffle):
            return self._shuffle(path, layer.groups, inputs[0])
        elif isinstance(layer, nn.Softmax):
            # Its sum runs over all channels: none can go without changing the others.
            self.freezes.append((inputs[0], Frozen(f"its channels reach the soft-max {path!r}", path)))
        else:
            kind_of(layer)
        return inputs[0]

    def _weighted(self, path: str, layer: nn.Conv2d | nn.Linear, x: Ids) -> Ids:
        called_before = (path, "out") in self.places
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        count = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
        if groups > 1 and groups == len(x):  # depth-wise: an output lives and dies with its one input
            y = np.repeat(x, count // groups)
        elif called_before:
            y = self.places[path, "out"]
        else:
            y = self.sets.fresh(count)
        self._place(path, "in", x)
        self._place(path, "out", y)
        if 1 < groups < len(x):
            # Every group must lose channels at the same places, or the groups' sizes would differ.
            for ids in (x, y):
                in_groups = ids.reshape(groups, -1)
                for other in in_groups[1:]:
                    self.sets.tie(in_groups[0], other)
        form = form_of(layer)
        if isinstance(form, Hashed):
            origin = f" by {form.origin}" if form.origin else ""
            why = f"the weight of {path!r} is hashed{origin}, and its values hang on their positions"
            self.freezes.append((np.concatenate([x, y]), Frozen(why, path)))
        return y

    def _shuffle(self, path: str, groups: int, x: Ids) -> Ids:
        """Transposes [groups, places]. A place goes in every group or in none: the rest keeps its order."""
        if groups in (1, len(x)):
            return x
        in_groups = x.reshape(groups, -1)
        for other in in_groups[1:]:
            self.sets.tie(in_groups[0], other)
        self.shuffles.append((path, x))
        return in_groups.T.reshape(-1)

    def _place(self, path: str, dimension: Dimension, ids: Ids) -> None:
        """Notes the ids at one side of a layer; a shared layer's calls are tied to the first."""
        if (path, dimension) in self.places:
            self.sets.tie(self.places[path, dimension], ids)
        else:
            self.places[path, dimension] = ids

    # -- afterwards --------------------------------------------------------------------------------------------

    def _roots(self, ids: Ids) -> list[int]:
        return [self.sets.find(member) for member in ids.tolist()]

    def _collect(self) -> Graph:
        for path, ids in self.shuffles:
            if len(ids) > 1 and len(set(self._roots(ids))) == 1:
                reason = (
                    f"the channel shuffle {path!r} and the layers around it tie all {len(ids)} channels to each other, "
                    "so that none can go alone"
                )
                self.freezes.append((ids, Frozen(reason, path)))
        causes: dict[int, Frozen] = {}
        for ids, why in self.freezes:
            for root in self._roots(ids):
                causes.setdefault(root, why)
        frozen: dict[str, Frozen] = {}
        places: dict[int, dict[tuple[str, Dimension], list[int]]] = {}
        for (path, dimension), ids in self.places.items():
            roots = self._roots(ids)
            fixed = [causes[root] for root in roots if root in causes]
            if fixed and dimension == "out":
                part = "" if len(fixed) == len(roots) else f" ({len(fixed)} of {len(roots)} channels)"
                frozen[path] = Frozen(fixed[0].reason + part, fixed[0].cause)
            for position, root in enumerate(roots):
                if root not in causes:
                    places.setdefault(root, {}).setdefault((path, dimension), []).append(position)
        return Graph(MappingProxyType(self.shapes), self._groups(places.values()), MappingProxyType(frozen))

    def _groups(self, channels: Iterable[dict[tuple[str, Dimension], list[int]]]) -> tuple[ChannelGroup, ...]:
        order = {place: number for number, place in enumerate(self.places)}
        alike: dict[tuple[tuple[int, int], ...], list[dict[tuple[str, Dimension], list[int]]]] = {}
        for channel in channels:
            pattern = tuple(sorted((order[place], len(positions)) for place, positions in channel.items()))
            alike.setdefault(pattern, []).append(channel)
        by_order = list(self.places)
        groups: list[ChannelGroup] = []
        taken: dict[str, int] = {}
        for pattern in sorted(alike):
            leader = by_order[pattern[0][0]]
            members = sorted(alike[pattern], key=lambda channel, at=leader: channel[at][0])  # type: ignore[misc]
            slots = []
            for number, _ in pattern:
                path, dimension = by_order[number]
                positions = tuple(tuple(channel[path, dimension]) for channel in members)
                slots.append(Slot(path, dimension, positions))
            first = next(slot.layer for slot in slots if slot.dimension == "out" and self._computes(slot.layer))
            taken[first] = taken.get(first, 0) + 1
            name = first if taken[first] == 1 else f"{first}#{taken[first]}"
            groups.append(ChannelGroup(name, tuple(slots)))
        return tuple(groups)

    def _computes(self, path: str) -> bool:
        return isinstance(self.network.get_submodule(path), nn.Conv2d | nn.Linear)
