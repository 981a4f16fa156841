"""Which channels must be cut together: one walk through a network.

Every channel of every value carries an id. Convolutions and linear layers give their outputs fresh ids; elementwise
layers hand ids on; flatten repeats an image channel's id once for each of its pixels; concatenation appends, a slice
picks. Ids are tied (union-find) where one channel cannot go without the other: across additions, from a depth-wise
convolution's input to its outputs, in the block of pixels that channels turn into, between the calls of a shared layer,
and in grouped convolutions and channel shuffles, whose groups must stay of one size. A *channel* is a class of tied
ids; a *group* is all channels that occupy the same dimensions of the same layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from torch import nn

from camfit.forms import Hashed, form_of
from camfit.graph.groups import ChannelGroup, Dimension, Frozen, Slot
from camfit.layers import kind_of
from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Slice

Ids = npt.NDArray[np.int64]
Place = tuple[str, Dimension]


def couple(
    network: Network, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[ChannelGroup, ...], dict[str, Frozen]]:
    """(groups in execution order, by layer path why (some of) its output channels belong to none).

    Args:
        shapes: of the network's values.

    Raises:
        ModelError: the network holds a layer that camfit does not know.
    """
    walk = _Walk(network, shapes)
    roots = walk.sets.roots()
    frozen_roots, frozen = _frozen(walk, roots)
    return _groups(network, walk.places, roots, frozen_roots), frozen


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

    def roots(self) -> Ids:
        """Of every member."""
        found = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(found, further := found[found]):
            found = further
        return found


@dataclass(frozen=True, eq=False)
class _Grouped:
    """A convolution of groups, neither one nor one for each input: ids of its input and output."""

    path: str
    groups: int
    x: Ids
    y: Ids


@dataclass(frozen=True, eq=False)
class _Shuffle:
    """A channel shuffle: ids of its input and, in their new order, of its output."""

    path: str
    groups: int
    x: Ids
    y: Ids


class _Walk:
    """The ids of a network, tied."""

    def __init__(self, network: Network, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.sets = _UnionFind()
        # Ids at each dimension of each layer that has channels of its own, in order of first execution.
        self.places: dict[Place, Ids] = {}
        self.freezes: list[tuple[Ids, Frozen]] = []
        self.grouped: list[_Grouped] = []
        self.shuffles: list[_Shuffle] = []
        image = self.sets.fresh(shapes[INPUT][0])
        self.freezes.append((image, Frozen("its channels are tied to the network's input", None)))
        values = {INPUT: image}
        for node in network.nodes:
            layer = network.get_submodule(node.layer)
            values[node.name] = self._call(node.layer, layer, [values[name] for name in node.inputs], node.inputs)
        output = values[network.nodes[-1].name]
        self.freezes.insert(0, (output, Frozen("its channels reach the network's output", None)))
        self._tie_groups()

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
        elif isinstance(layer, DepthToSpace):
            return self._depth_to_space(layer, inputs[0])
        elif isinstance(layer, Slice):
            # What lies behind it does not move it.
            end = layer.first + layer.count
            self._place(path, "before", inputs[0][: layer.first])
            self._place(path, "within", inputs[0][layer.first : end])
            return inputs[0][layer.first : end]
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
            self.grouped.append(_Grouped(path, groups, x, y))
        form = form_of(layer)
        if isinstance(form, Hashed):
            origin = f" by {form.origin}" if form.origin else ""
            why = f"the weight of {path!r} is hashed{origin}, and its values hang on their positions"
            self.freezes.append((np.concatenate([x, y]), Frozen(why, path)))
        return y

    def _shuffle(self, path: str, groups: int, x: Ids) -> Ids:
        """Transposes [groups, places]."""
        if groups in (1, len(x)):
            return x
        y = x.reshape(groups, -1).T.reshape(-1)
        self.shuffles.append(_Shuffle(path, groups, x, y))
        return y

    def _depth_to_space(self, layer: DepthToSpace, x: Ids) -> Ids:
        """A channel of the larger image takes a channel for each place in a block."""
        blocks = x.reshape(-1, layer.block[0] * layer.block[1])
        for place in blocks.T[1:]:
            self.sets.tie(blocks[:, 0], place)
        return blocks[:, 0]

    def _place(self, path: str, dimension: Dimension, ids: Ids) -> None:
        """Notes the ids at one side of a layer; a shared layer's calls are tied to the first."""
        if (path, dimension) in self.places:
            self.sets.tie(self.places[path, dimension], ids)
        else:
            self.places[path, dimension] = ids

    # -- groups that must stay of one size ----------------------------------------------------------------------

    def _tie_groups(self) -> None:
        """Every group of a convolution loses channels at the same places, and a shuffle loses whole rounds.

        A shuffle's output takes turns among its groups: 0, 1, 2, 0, 1, 2, .... It still does after any round of turns
        has gone, and its groups have lost one channel each. So rounds are tied; from where on they are counted is free,
        and the next convolution decides.
        """
        even: list[_Shuffle] = []
        for shuffle in self.shuffles:
            if not self._tie_rounds(shuffle):
                self._tie_parts(shuffle.x, shuffle.groups)
                even.append(shuffle)
        rounds = [shuffle for shuffle in self.shuffles if shuffle not in even]
        for conv in self.grouped:
            self._tie_parts(conv.x, conv.groups)
            # Rounds take a channel of each group already, at places that may differ: rows of a weight can.
            if not any(conv.y is shuffle.x and conv.groups == shuffle.groups for shuffle in rounds):
                self._tie_parts(conv.y, conv.groups)
        for shuffle in even:
            if len({self.sets.find(member) for member in shuffle.x.tolist()}) == 1 < len(shuffle.x):
                reason = (
                    f"the channel shuffle {shuffle.path!r} and the layers around it tie all {len(shuffle.x)} channels "
                    "to each other, so that none can go alone"
                )
                self.freezes.append((shuffle.x, Frozen(reason, shuffle.path)))

    def _tie_parts(self, ids: Ids, parts: int) -> None:
        """Ties what stands at the same place of each part."""
        rows = ids.reshape(parts, -1)
        for other in rows[1:]:
            self.sets.tie(rows[0], other)

    def _tie_rounds(self, shuffle: _Shuffle) -> bool:
        """Ties rounds of turns that are counted from the start of each group of the convolution that reads them.

        False where no round would lie across two of its groups anyway, and rounds may be counted from the first on.
        """
        readers = [conv for conv in self.grouped if np.array_equal(conv.x, shuffle.y)]
        width = len(shuffle.x) // readers[0].groups if readers else shuffle.groups
        left_over = width % shuffle.groups
        if left_over == 0 or width < shuffle.groups or len({conv.groups for conv in readers}) > 1:
            return False
        of_reader = shuffle.y.reshape(-1, width)
        whole = of_reader[:, : width - left_over].reshape(-1, shuffle.groups)
        for turn in whole.T[1:]:
            self.sets.tie(whole[:, 0], turn)
        reason = (
            f"the channel shuffle {shuffle.path!r} takes turns among {shuffle.groups} groups, and {width} channels for "
            f"each group of {readers[0].path!r} are no whole rounds: the last {left_over} stay"
        )
        self.freezes.append((of_reader[:, width - left_over :].reshape(-1), Frozen(reason, shuffle.path)))
        return True


def _frozen(walk: _Walk, roots: Ids) -> tuple[npt.NDArray[np.bool_], dict[str, Frozen]]:
    """(whether each root is frozen, by layer path why some outputs are)."""
    causes: dict[int, Frozen] = {}
    for ids, why in walk.freezes:
        for root in np.unique(roots[ids]).tolist():
            causes.setdefault(root, why)
    fixed = np.zeros(len(roots), dtype=np.bool_)
    fixed[list(causes)] = True
    frozen: dict[str, Frozen] = {}
    for (path, dimension), ids in walk.places.items():
        if dimension == "out" and (count := int(fixed[roots[ids]].sum())):
            first = causes[int(roots[ids][fixed[roots[ids]]][0])]
            part = "" if count == len(ids) else f" ({count} of {len(ids)} channels)"
            frozen[path] = Frozen(first.reason + part, first.cause)
    return fixed, frozen


def _groups(
    network: Network, places: Mapping[Place, Ids], roots: Ids, fixed: npt.NDArray[np.bool_]
) -> tuple[ChannelGroup, ...]:
    """The channels that may go, those at the same places together."""
    by_order = list(places)
    # An entry for every id at every place, sorted so that those of one channel stand together.
    channel = roots[np.concatenate(list(places.values()))]
    place = np.repeat(np.arange(len(places)), [len(ids) for ids in places.values()])
    position = np.concatenate([np.arange(len(ids)) for ids in places.values()])
    free = ~fixed[channel]
    order = np.lexsort((position[free], place[free], channel[free]))
    channel, place, position = (values[free][order] for values in (channel, place, position))
    edges = [*np.flatnonzero(np.diff(channel, prepend=-1)).tolist(), len(channel)]
    alike: dict[bytes, list[int]] = {}
    lengths: dict[bytes, int] = {}
    for start, end in pairwise(edges):
        pattern = place[start:end].tobytes()
        alike.setdefault(pattern, []).append(start)
        lengths[pattern] = end - start
    # By the places that the channels occupy, and how many of each.
    found: list[tuple[list[tuple[int, int]], Ids, Ids]] = []
    for pattern, begins in alike.items():
        entries = np.array(begins)[:, None] + np.arange(lengths[pattern])
        members = position[entries]
        members = members[np.argsort(members[:, 0], kind="stable")]
        at, counts = np.unique(place[entries[0]], return_counts=True)
        found.append((list(zip(at.tolist(), counts.tolist(), strict=True)), place[entries[0]], members))
    groups: list[ChannelGroup] = []
    taken: dict[str, int] = {}
    for pattern_of, at, members in sorted(found, key=lambda each: each[0]):
        slots = []
        for number, _ in pattern_of:
            path, dimension = by_order[number]
            slots.append(Slot(path, dimension, tuple(map(tuple, members[:, at == number].tolist()))))
        first = next(slot.layer for slot in slots if slot.dimension == "out" and _computes(network, slot.layer))
        taken[first] = taken.get(first, 0) + 1
        groups.append(ChannelGroup(first if taken[first] == 1 else f"{first}#{taken[first]}", tuple(slots)))
    return tuple(groups)


def _computes(network: Network, path: str) -> bool:
    return isinstance(network.get_submodule(path), nn.Conv2d | nn.Linear)
