"""The shape of what a layer makes, from the shapes of what it reads: arithmetic alone, as torch does it.

A network is asked for its shapes at every step of its way; running it for them takes as long as an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from camfit.errors import ModelError
from camfit.structural import Add, Concat, DepthToSpace, Slice

Shape = tuple[int, ...]


def output_shape(path: str, layer: nn.Module, inputs: Sequence[Shape]) -> Shape:
    """Shape of a layer's value for one image, without the batch dimension.

    Args:
        path: the layer's, for errors.
        inputs: shapes of the values that it reads.

    Raises:
        ModelError: it cannot take them; says what it expects.
    """
    first = inputs[0]
    if isinstance(layer, nn.Conv2d):
        return _conv(path, layer, first)
    if isinstance(layer, nn.Linear):
        _expect(path, first, len(first) == 1 and first[0] == layer.in_features, f"[{layer.in_features}]")
        return (layer.out_features,)
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        rank = 3 if isinstance(layer, nn.BatchNorm2d) else 1
        fits = len(first) == rank and first[0] == layer.num_features
        _expect(path, first, fits, f"{layer.num_features} channels, {'images' if rank == 3 else 'vectors'}")
        return first
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        return _pool(path, layer, first)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        _expect(path, first, len(first) == 3, "an image")
        return (first[0], 1, 1)
    if isinstance(layer, nn.Flatten):
        return (math.prod(first),)
    if isinstance(layer, Add):
        _expect(path, inputs[1], inputs[1] == first, f"{list(first)}, as its other input")
        return first
    if isinstance(layer, Concat):
        for other in inputs:
            _expect(path, other, other[1:] == first[1:], f"the size of its first input, {list(first)}")
        return (sum(shape[0] for shape in inputs), *first[1:])
    if isinstance(layer, Slice):
        _expect(path, first, layer.count > 0 and layer.first + layer.count <= first[0], f"more channels for {layer}")
        return (layer.count, *first[1:])
    if isinstance(layer, DepthToSpace):
        return _depth_to_space(path, layer, first)
    if isinstance(layer, nn.ReLU | nn.ReLU6 | nn.Dropout | nn.Dropout2d | nn.Softmax | nn.ChannelShuffle):
        return first
    return _of_any(layer, inputs)


def _expect(path: str, found: Shape, fits: bool, wanted: str) -> None:
    if not fits:
        raise ModelError(f"layer {path!r} reads a value of shape {list(found)}; it expects {wanted}")


def _conv(path: str, layer: nn.Conv2d, into: Shape) -> Shape:
    _expect(path, into, len(into) == 3 and into[0] == layer.in_channels, f"an image of {layer.in_channels} channels")
    assert not isinstance(layer.padding, str)
    size = []
    for axis in range(2):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        padded = into[1 + axis] + 2 * layer.padding[axis]
        _expect(path, into, reach <= padded, f"at least {reach} pixels along each side, padding included")
        size.append((padded - reach) // layer.stride[axis] + 1)
    return (layer.out_channels, *size)


def _pool(path: str, layer: nn.MaxPool2d | nn.AvgPool2d, into: Shape) -> Shape:
    _expect(path, into, len(into) == 3, "an image")
    size = []
    for axis in range(2):
        kernel, stride, padding = (_along(value, axis) for value in (layer.kernel_size, layer.stride, layer.padding))
        room = into[1 + axis] + 2 * padding - kernel
        _expect(path, into, room >= 0, f"at least {kernel} pixels along each side, padding included")
        count = (room + (stride - 1 if layer.ceil_mode else 0)) // stride + 1
        if layer.ceil_mode and (count - 1) * stride >= into[1 + axis] + padding:
            count -= 1  # no window starts behind the image
        size.append(count)
    return (into[0], *size)


def _depth_to_space(path: str, layer: DepthToSpace, into: Shape) -> Shape:
    (high, wide), (top, left, bottom, right) = layer.block, layer.crop
    _expect(path, into, len(into) == 3 and into[0] % (high * wide) == 0, f"channels in blocks of {high} x {wide}")
    height, width = into[1] * high - top - bottom, into[2] * wide - left - right
    _expect(path, into, height > 0 and width > 0, f"more pixels than the {layer.crop} that it crops")
    return (into[0] // (high * wide), height, width)


def _along(value: int | Sequence[int], axis: int) -> int:
    """One of two numbers, or the one that stands for both."""
    return value if isinstance(value, int) else value[axis]


@torch.no_grad()
def _of_any(layer: nn.Module, inputs: Sequence[Shape]) -> Shape:
    """What the layer makes of zeros."""
    like = next(layer.parameters(), torch.empty(0))
    mode = layer.training
    layer.eval()
    try:
        made = layer(*(torch.zeros(1, *shape, device=like.device, dtype=like.dtype) for shape in inputs))
    finally:
        layer.train(mode)
    return tuple(made.shape[1:])
