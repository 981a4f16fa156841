"""Takes one input off an addition or a concatenation, and with it every layer that served it alone.

Without its branch, a residual block's addition is the identity; a concatenation without one of its inputs loses these
channels, and so does every layer that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from camfit.errors import PlanError
from camfit.graph import ChannelGroup, Graph
from camfit.layers import is_depthwise
from camfit.network import INPUT, Add, Concat, Network, Node, Slice
from camfit.surgery.cut import blank, cut


def without_branch(network: Network, join: str, branch: int) -> Network:
    """The network without input number ``branch`` of the call ``join``; shares its layers with the given one.

    Layers that are narrower now are its own; the given network stays as it is.

    Raises:
        PlanError: no such addition or concatenation, no such input; or channels of the branch cannot go, because they
            reach the output or are tied to others behind the concatenation (says which).
    """
    node = _join(network, join, branch)
    others = tuple(name for place, name in enumerate(node.inputs) if place != branch)
    layers: Mapping[str, nn.Module] = dict(network.layers())
    if isinstance(layers[node.layer], Concat):
        marked, marker = _marked(network, node, branch)
        cut(marked, [(group, tuple(range(len(group)))) for group in _own_groups(marked, marker, join)])
        layers = dict(marked.layers())
    nodes = _rejoined(network.nodes, node, others)
    used = {n.layer for n in nodes}
    own = {path: layer for path, layer in layers.items() if path in used}
    return Network(nodes, own, network.input_shape).train(network.training)


@torch.no_grad()
def zeroed_branch(network: Network, join: str, branch: int) -> Network:
    """The same function as :func:`without_branch` in evaluation, by a zero in the branch's place.

    What a batch-norm or a depth-wise convolution behind a concatenation makes of the branch is zero too, as in
    :func:`camfit.surgery.masked`. Raises what :func:`without_branch` raises.
    """
    node = _join(network, join, branch)
    marked, marker = _marked(network, node, branch)
    if isinstance(network.get_submodule(node.layer), Concat):
        blank(marked, [(group, tuple(range(len(group)))) for group in _own_groups(marked, marker, join)])
    else:
        for parameter in marked.layer(marker).parameters():
            parameter.zero_()
    return marked


def branch_readers(network: Network, join: str, branch: int) -> tuple[Network, tuple[ChannelGroup, ...]]:
    """Who reads a concatenation's branch.

    Returns:
        (the network with an identity between the branch and its concatenation, the groups of the branch's channels in
        that network). Raises what :func:`without_branch` raises.
    """
    marked, marker = _marked(network, _join(network, join, branch), branch)
    return marked, _own_groups(marked, marker, join)


def _join(network: Network, name: str, branch: int) -> Node:
    node = next((node for node in network.nodes if node.name == name), None)
    joins = [n.name for n in network.nodes if isinstance(network.get_submodule(n.layer), Add | Concat)]
    if node is None or name not in joins:
        known = ", ".join(map(repr, joins)) or "none"
        raise PlanError(f"no addition or concatenation {name!r}; the network has {known}")
    if len(node.inputs) < 2 or not 0 <= branch < len(node.inputs):
        raise PlanError(f"no input {branch} that {name!r} can lose; it has {len(node.inputs)}, counted from 0")
    return node


def _marked(network: Network, node: Node, branch: int) -> tuple[Network, str]:
    """(a copy with an identity of ids of its own between the branch and its join, the identity's path)."""
    taken = {*network.layer_paths(), *(n.name for n in network.nodes)}
    marker = next(name for number in range(len(taken) + 1) if (name := f"branch{number}") not in taken)
    shape = network.shapes()[node.inputs[branch]]
    layer = (
        nn.Conv2d(shape[0], shape[0], 1, bias=False) if len(shape) == 3 else nn.Linear(shape[0], shape[0], bias=False)
    )
    like = next(network.parameters(), torch.empty(0))
    layer.to(device=like.device, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(shape[0]).reshape(layer.weight.shape))
    inputs = tuple(marker if place == branch else name for place, name in enumerate(node.inputs))
    nodes: list[Node] = []
    for other in network.nodes:
        if other.name == node.name:
            nodes += [Node(marker, marker, (node.inputs[branch],)), Node(node.name, node.layer, inputs)]
        else:
            nodes.append(other)
    return network.clone().with_nodes(tuple(nodes), {marker: layer}), marker


def _own_groups(marked: Network, marker: str, join: str) -> tuple[ChannelGroup, ...]:
    """The groups of the marker's channels, which nobody else computes."""
    graph = Graph.of(marked)
    if marker in graph.frozen:
        raise PlanError(f"a branch of {join!r} cannot go: {graph.frozen[marker].reason}")
    groups = graph.groups_of(marker)
    for group in groups:
        for slot in group.producers:
            layer = marked.layer(slot.layer)
            computes = isinstance(layer, nn.Conv2d | nn.Linear) and not is_depthwise(layer)
            if computes and slot.layer != marker:
                raise PlanError(
                    f"a branch of {join!r} cannot go: behind it, its channels are tied to those of {slot.layer!r}"
                )
    for path, layer in marked.layers():
        if isinstance(layer, Slice):
            slots = [
                slot for group in groups for slot in group.slots if (slot.layer, slot.dimension) == (path, "within")
            ]
            if layer.count == sum(len(places) for slot in slots for places in slot.positions):
                raise PlanError(f"a branch of {join!r} cannot go: {path!r} picks from its channels alone")
    return groups


def _rejoined(nodes: tuple[Node, ...], join: Node, others: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes where ``join`` has the inputs ``others`` (one: its readers read that), less what serves no more."""
    last = nodes[-1].name
    if len(others) > 1:
        kept = tuple(Node(n.name, n.layer, others) if n.name == join.name else n for n in nodes)
    else:
        (other,) = others
        last = other if last == join.name else last
        if last == INPUT:
            raise PlanError("no layer would remain")
        kept = tuple(
            Node(n.name, n.layer, tuple(other if name == join.name else name for name in n.inputs))
            for n in nodes
            if n.name != join.name
        )
    idle = {n.name for n in nodes} - _serving(nodes, nodes[-1].name)
    serving = _serving(kept, last)
    # The last node's value is the network's output: nothing may stand behind it.
    end = next(place for place, n in enumerate(kept) if n.name == last)
    return tuple(n for n in kept[: end + 1] if n.name in serving or n.name in idle)


def _serving(nodes: tuple[Node, ...], output: str) -> set[str]:
    """Names of the nodes whose values reach the node ``output``, itself included."""
    found = {output}
    for node in reversed(nodes):
        if node.name in found:
            found.update(node.inputs)
    return found - {INPUT}
