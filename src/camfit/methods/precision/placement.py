"""Where values become bytes: which values integer layers want, and which of them need one common scale.

A value comes from a *source* (the input, a weighted layer, addition, global average or any float layer, each with the
activation that is fused behind it) and passes through layers that keep its scale: pools, flatten, shuffle, slice, depth
to space, dropout, concatenation, activations that stand alone. Bytes are made at the source, and only where an integer
layer reads them.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Node, Slice

DROPOUT = (nn.Dropout, nn.Dropout2d)
ACTIVATION = (nn.ReLU, nn.ReLU6)
_MOVING = (nn.Flatten, nn.ChannelShuffle, Concat, DepthToSpace, Slice)
PASSING = (nn.MaxPool2d, nn.AvgPool2d, *_MOVING, *DROPOUT, *ACTIVATION)


def fused_end(network: Network, node: Node) -> tuple[Node, set[str]]:
    """(the last node fused into ``node``, the names of those fused): an activation that alone reads its value."""
    layer = network.get_submodule(node.layer)
    if not isinstance(layer, nn.Conv2d | nn.Linear | Add | nn.BatchNorm2d | nn.BatchNorm1d):
        return node, set()
    passed: set[str] = set()
    at = node
    while len(readers := network.consumers(at.name)) == 1:
        at = readers[0]
        passed.add(at.name)
        if isinstance(network.get_submodule(at.layer), ACTIVATION):
            return at, passed
        if not isinstance(network.get_submodule(at.layer), DROPOUT):
            break
    return node, set()


class Placement:
    """What the integer layers of a network want.

    Args:
        network: batch-norm folded where it can be.
        integers: paths of the layers with integer weights.

    Attributes:
        integers: as given.
        groups: names of the values behind which bytes are made, in execution order; those of one group share a scale.
        origins: by value, the sources of its bytes.
        averages: names of the average pools: where they take bytes they round, which no other passing layer does.
    """

    def __init__(self, network: Network, integers: Collection[str]) -> None:
        self.network = network
        self.integers = tuple(integers)
        self.origins: dict[str, frozenset[str]] = {INPUT: frozenset({INPUT})}
        self._ends: dict[str, str] = {}
        self._fused: set[str] = set()
        for node in network.nodes:
            self._trace(node)
        wanted = self._wanted(integers)
        self.groups = self._groups(wanted)
        self.averages = tuple(
            node.name for node in network.nodes if isinstance(network.get_submodule(node.layer), nn.AvgPool2d)
        )

    def _trace(self, node: Node) -> None:
        if node.name in self._fused:
            self.origins[node.name] = frozenset({node.name})
        elif isinstance(self.network.get_submodule(node.layer), PASSING):
            self.origins[node.name] = frozenset().union(*(self.origins[name] for name in node.inputs))
        else:
            end, fused = fused_end(self.network, node)
            self._ends[node.name] = end.name
            self._fused |= fused
            self.origins[node.name] = frozenset({node.name})

    def _wanted(self, integers: Collection[str]) -> set[str]:
        wanted: set[str] = set()
        for node in reversed(self.network.nodes):
            layer = self.network.get_submodule(node.layer)
            if node.layer in integers:
                wanted |= {*node.inputs}
            elif isinstance(layer, Add | nn.AdaptiveAvgPool2d):
                if self._ends[node.name] in wanted:
                    wanted |= {*node.inputs}
            elif isinstance(layer, PASSING) and node.name in wanted and node.name not in self._fused:
                wanted |= {*node.inputs}
        return wanted

    def _groups(self, wanted: set[str]) -> tuple[tuple[str, ...], ...]:
        group: dict[str, set[str]] = {}
        for name in (INPUT, *(node.name for node in self.network.nodes)):
            if name not in wanted:
                continue
            joined = set(self.origins[name])
            for origin in self.origins[name]:
                joined |= group.get(origin, set())
            for origin in joined:
                group[origin] = joined
        order = [name for name in (INPUT, *(node.name for node in self.network.nodes)) if name in group]
        seen: dict[int, tuple[str, ...]] = {}
        for name in order:
            members = group[name]
            seen.setdefault(id(members), tuple(other for other in order if other in members))
        return tuple(seen.values())
