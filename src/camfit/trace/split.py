"""Ops that pick channels: each part of a split, ``narrow`` and ``x[:, a:b]`` is a :class:`~camfit.network.Slice`."""

from __future__ import annotations

from typing import Any

import torch

from camfit.errors import ModelError
from camfit.network import Slice
from camfit.trace.arguments import arg, where
from camfit.trace.tracer import Tracer


def split(t: Tracer, node: torch.fx.Node) -> None:
    """Parts side by side, which ``pick`` takes out one by one."""
    source: Any = node.args[0]
    _channels(t, node, arg(node, 2, "dim", 0))
    counts = [int(part.shape[1]) for part in node.meta["val"]]
    t.parts[node] = [(sum(counts[:number]), count) for number, count in enumerate(counts)]
    t.memory[node] = t.memory.get(source, source)


def pick(t: Tracer, node: torch.fx.Node) -> None:
    """One part of a split; nothing where nobody reads it."""
    parts, number = node.args
    if not isinstance(parts, torch.fx.Node) or parts not in t.parts:
        raise ModelError(f"{node.target} {where(node)}: camfit expects a part of a split")
    if node.users:
        first, count = t.parts[parts][int(number)]  # type: ignore[arg-type]
        _slice(t, node, parts.args[0], first, count)
        t.memory[node] = t.memory[parts]


def narrow(t: Tracer, node: torch.fx.Node) -> None:
    _channels(t, node, node.args[1])
    _slice(t, node, node.args[0], int(node.args[2]), int(node.args[3]))  # type: ignore[arg-type]


def slice_(t: Tracer, node: torch.fx.Node) -> None:
    """``x[:, first:end]``; a slice that leaves all of a dimension is none."""
    source = node.args[0]
    shape = (t.batch, *t.shapes[t.value(source, node)])
    dim = arg(node, 1, "dim", 0) % len(shape)
    first, end, step = arg(node, 2, "start") or 0, arg(node, 3, "end"), arg(node, 4, "step", 1)
    if tuple(node.meta["val"].shape) == shape and step == 1:
        t.same(node, source)
        return
    _channels(t, node, dim)
    if step != 1:
        raise ModelError(f"slice {where(node)} with step {step}; camfit expects neighbouring channels (step 1)")
    first, end, _ = slice(first, end).indices(shape[1])
    _slice(t, node, source, first, end - first)


def _channels(t: Tracer, node: torch.fx.Node, dim: Any) -> None:
    """Raises ModelError unless ``dim`` is that of the channels."""
    rank = 1 + len(t.shapes[t.value(node.args[0], node)])
    if dim % rank != 1:
        raise ModelError(f"{node.target} {where(node)} along dimension {dim}; camfit expects the channels (1)")


def _slice(t: Tracer, node: torch.fx.Node, source: Any, first: int, count: int) -> None:
    whole = t.shapes[t.value(source, node)][0]
    first %= whole
    if count < 1:
        raise ModelError(f"{node.target} {where(node)}: no channels; camfit expects at least one")
    if count == whole:
        t.same(node, source)
    else:
        t.add(node, Slice(first, count), [source], t.fresh("slice"))
