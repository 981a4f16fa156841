"""Reshapes: flattening, and the views and transpositions that together shuffle channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from camfit.errors import ModelError
from camfit.trace.arguments import where
from camfit.trace.fold import SHUFFLE, Fold
from camfit.trace.tracer import Tracer


def _folds(image: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Whether ``new`` is the image with its channels in two dimensions, its pixels in two or one."""
    pixels = new[2:]
    flat = (image[1] * image[2],)
    return len(new) in (3, 4) and new[0] * new[1] == image[0] and pixels in (image[1:], flat) and new[1:] != image[1:]


def reshape(t: Tracer, node: torch.fx.Node) -> None:
    source = node.args[0]
    new = tuple(node.meta["val"].shape)
    if isinstance(source, torch.fx.Node) and source in t.folds:
        _unfold(t, node, t.folds[source])
        return
    old = t.shapes[t.value(source, node)]
    if new[0] == t.batch and tuple(new[1:]) == old:
        t.same(node, source)
    elif new[0] == t.batch and len(old) == 3 and _folds(old, tuple(new[1:])):
        assert isinstance(source, torch.fx.Node)
        t.folds[node] = Fold(source, new[1], new[2], swapped=False)
    elif new[0] == t.batch and len(new) == 2:
        t.add(node, nn.Flatten(1), [source])
    else:
        raise ModelError(
            f"{node.target} {where(node)}: {list(old)} to {list(new[1:])}; "
            "camfit expects flattening to a vector per image"
        )


def transpose(t: Tracer, node: torch.fx.Node) -> None:
    """The middle of a channel shuffle."""
    source: Any = node.args[0]
    rank = len(node.meta["val"].shape)
    order, axes = list(range(rank)), cast("Sequence[Any]", node.args[1:])
    if str(node.target) == "aten.permute.default":
        order = [axis % rank for axis in axes[0]]
    else:
        first, second = (axis % rank for axis in axes)
        order[first], order[second] = order[second], order[first]
    if source not in t.folds:
        t.value(source, node)
    if source not in t.folds or order != [0, 2, 1, *range(3, rank)]:
        raise ModelError(f"{node.target} {where(node)}: dimensions in the order {order}; camfit expects {SHUFFLE}")
    t.folds[node] = replace(t.folds[source], swapped=not t.folds[source].swapped)


def _unfold(t: Tracer, node: torch.fx.Node, fold: Fold) -> None:
    """The end of a channel shuffle: back to an image, or to a vector at once."""
    shape, new = t.shapes[t.value(fold.source, node)], tuple(node.meta["val"].shape)
    if new[0] != t.batch or (tuple(new[1:]) != shape and len(new) != 2):
        raise ModelError(f"{node.target} {where(node)} to {list(new[1:])}; camfit expects {SHUFFLE}")
    if fold.shuffles:
        t.add(node, nn.ChannelShuffle(fold.groups), [fold.source], t.fresh("channel_shuffle"))
    else:
        t.same(node, fold.source)
    if len(new) == 2:
        t.add(node, nn.Flatten(1), [node], t.fresh(f"{node.name}_flatten"))


def channel_shuffle(t: Tracer, node: torch.fx.Node) -> None:
    groups, shape = int(node.args[1]), t.shapes[t.value(node.args[0], node)]  # type: ignore[arg-type]
    if groups in (1, shape[0]):
        t.same(node, node.args[0])
    else:
        t.add(node, nn.ChannelShuffle(groups), [node.args[0]])
