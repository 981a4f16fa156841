"""A transposed convolution becomes a convolution and a :class:`~camfit.network.DepthToSpace`, so that all that camfit
does to convolutions it does to it.

With stride s the output at s·a + r takes, of kernel tap s·j + r, the input at a − j: for each phase r an ordinary
convolution of ⌈k/s⌉ taps. The phases stand side by side as channels, and depth to space lays them out as pixels. A
kernel that the stride does not divide is filled up with zeros, which training may change.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.layers import pair
from camfit.network import DepthToSpace
from camfit.trace.arguments import arg, copy_values, where
from camfit.trace.tracer import Tracer


def conv_transpose2d(t: Tracer, node: torch.fx.Node) -> None:
    x, weight, bias = node.args[0], t.tensor(node.args[1], node), arg(node, 2, "bias")
    stride, padding = pair(arg(node, 3, "stride", 1)), pair(arg(node, 4, "padding", 0))
    groups, dilation = arg(node, 6, "groups", 1), pair(arg(node, 7, "dilation", 1))
    if dilation != (1, 1):
        raise ModelError(f"transposed convolution {where(node)}: dilation {list(dilation)}; camfit expects 1")
    inputs, of_group, *kernel = weight.shape
    size, output = t.shapes[t.value(x, node)][1:], node.meta["val"].shape[2:]
    taps = tuple(-(-k // s) for k, s in zip(kernel, stride, strict=True))
    edges = [_edges(*axis) for axis in zip(size, output, taps, stride, padding, strict=True)]
    phases = stride[0] * stride[1]
    layer = nn.Conv2d(
        inputs, of_group * groups * phases, (taps[0], taps[1]), padding=(edges[0][0], edges[1][0]), groups=groups,
        bias=bias is not None,
    )  # fmt: skip
    copy_values(layer.weight, by_phase(weight, stride, groups))
    if bias is not None:
        copy_values(layer.bias, t.tensor(bias, node).repeat_interleave(phases))
    key = ("conv_transpose", str(node.args[1]), str(bias), stride, layer.padding, groups)
    path = t.layer_path(node.args[1], key, node)
    crop = (edges[0][1], edges[1][1], edges[0][2], edges[1][2])
    if phases == 1 and not any(crop):
        t.add(node, layer, [x], path)
        return
    inner = size[0] + 2 * edges[0][0] - taps[0] + 1, size[1] + 2 * edges[1][0] - taps[1] + 1
    t.add(node, layer, [x], path, shape=(layer.out_channels, *inner))
    t.add(node, DepthToSpace(stride, crop), [node], t.fresh(f"{node.name}_pixels"))


def by_phase(weight: Tensor, stride: tuple[int, int], groups: int) -> Tensor:
    """The weight of the convolution, [outputs · phases, inputs / groups, taps, taps], of a transposed one's [inputs,
    outputs / groups, height, width]."""
    inputs, outputs, height, width = weight.shape
    (down, across), taps = stride, [-(-k // s) for k, s in zip((height, width), stride, strict=True)]
    whole = weight.new_zeros(inputs, outputs, taps[0] * down, taps[1] * across)
    whole[:, :, :height, :width] = weight.detach()
    # A later tap reads an earlier pixel.
    split = whole.reshape(groups, -1, outputs, taps[0], down, taps[1], across).flip(3, 5)
    return split.permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, inputs // groups, *taps)


def _edges(size: int, output: int, taps: int, stride: int, padding: int) -> tuple[int, int, int]:
    """(padding of the convolution, crop before, crop behind) along an axis."""
    last = (padding + output - 1) // stride
    # Padded by p, the convolution's outputs are a = taps − 1 − p .. size − 1 + p, in the terms above.
    own = max(0, taps - 1 - padding // stride, last - (size - 1))
    before = padding - stride * (taps - 1 - own)
    count = size + 2 * own - taps + 1
    return own, before, stride * count - before - output


def pixel_shuffle(t: Tracer, node: torch.fx.Node) -> None:
    factor = int(node.args[1])  # type: ignore[arg-type]
    t.add(node, DepthToSpace((factor, factor)), [node.args[0]])
