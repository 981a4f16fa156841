"""A network's list of calls, changed: layers put in front of others, behind them, in their place, or taken out.

Functions of the calls alone; :mod:`camfit.surgery` checks what they are asked for and brings the layers.
"""

from __future__ import annotations

from camfit.network import INPUT, Node

Nodes = tuple[Node, ...]


def chained(nodes: Nodes, layer: str, chain: tuple[str, ...]) -> Nodes:
    """Calls the layers of ``chain`` one after the other wherever ``layer`` was called."""
    value: dict[str, str] = {}
    result: list[Node] = []
    for node in nodes:
        inputs = tuple(value.get(name, name) for name in node.inputs)
        if node.layer != layer:
            result.append(Node(node.name, node.layer, inputs))
            continue
        suffix = f"@{len(value) + 1}" if value else ""
        for path in chain:
            result.append(Node(f"{path}{suffix}", path, inputs))
            inputs = (f"{path}{suffix}",)
        value[node.name] = inputs[0]
    return tuple(result)


def inserted(nodes: Nodes, layer: str, before: str) -> Nodes:
    """Calls ``layer`` in front of every call of the one-input layer ``before``."""
    result: list[Node] = []
    calls = 0
    for node in nodes:
        if node.layer == before:
            calls += 1
            name = layer if calls == 1 else f"{layer}@{calls}"
            result += [Node(name, layer, node.inputs), Node(node.name, node.layer, (name,))]
        else:
            result.append(node)
    return tuple(result)


def appended(nodes: Nodes, layer: str, after: str) -> Nodes:
    """Calls ``layer`` behind the call ``after`` (or ``"input"``), whose readers then read it."""
    new = Node(layer, layer, (after,))
    result = [new] if after == INPUT else []
    for node in nodes:
        inputs = tuple(layer if name == after else name for name in node.inputs)
        result.append(Node(node.name, node.layer, inputs))
        if node.name == after:
            result.append(new)
    return tuple(result)


def removed(nodes: Nodes, layer: str) -> Nodes:
    """Without the calls of a one-input layer, whose readers read its input; empty where nothing would remain."""
    source: dict[str, str] = {}
    for node in nodes:
        if node.layer == layer:
            source[node.name] = source.get(node.inputs[0], node.inputs[0])
    result = [
        Node(node.name, node.layer, tuple(source.get(name, name) for name in node.inputs))
        for node in nodes
        if node.layer != layer
    ]
    last = nodes[-1].name
    output = source.get(last, last)
    if output == INPUT:
        return ()
    # The last node's value is the network's output; nothing behind it is read.
    end = next(place for place, node in enumerate(result) if node.name == output)
    return tuple(result[: end + 1])
