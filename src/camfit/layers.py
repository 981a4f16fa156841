"""The layers of a network that torch does not have, and the table of all layers that camfit knows.

The table is what makes a network data: each layer is its kind's name and the constructor arguments listed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.forms.sign import sign
from camfit.network import Add, Concat


class _SignThrough(torch.autograd.Function):
    """sign(x) forward, gradient·1_{|x|≤1} backward (straight-through)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return gradient * (x.abs() <= 1).to(gradient.dtype)


def binarize(x: Tensor) -> Tensor:
    """sign(x), sign(0) = +1, with the straight-through gradient 1_{|x|≤1}."""
    return _SignThrough.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def _scale_and_signs(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(α as [cout, 1, 1], ±1) of a weight α·sign.

    Sums of ±1 are exact in float32, sums of ±α are not: a filter that cancels must give zero, as it does in the engine,
    because the next layer takes its sign. α is held constant, which leaves the weight's gradient as it is.
    """
    alpha = weight.detach().abs().flatten(1).amax(1)
    signs = weight / alpha.clamp_min(torch.finfo(weight.dtype).tiny).reshape(-1, *[1] * (weight.dim() - 1))
    return alpha[:, None, None], signs


class BinaryConv2d(nn.Conv2d):
    """XNOR-Net's convolution: (sign(I) ⊛ W) ⊙ K, W usually in the form :class:`~camfit.forms.Sign` (which brings α).

    K is the channel mean of \\|I\\| under a box filter of the kernel's size when ``scale_input``, else 1. Padding
    contributes zero. Rastegari, Ordonez, Redmon, Farhadi, ECCV 2016, eq. 11.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        bias: bool = True,
        scale_input: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 1, bias)
        self.scale_input = scale_input

    def forward(self, x: Tensor) -> Tensor:
        alpha, signs = _scale_and_signs(self.weight)
        y = F.conv2d(binarize(x), signs, None, self.stride, self.padding, self.dilation) * alpha
        if self.scale_input:
            kh, kw = self.kernel_size
            box = x.new_full((1, 1, kh, kw), 1.0 / (kh * kw))
            y = y * F.conv2d(x.abs().mean(1, keepdim=True), box, None, self.stride, self.padding, self.dilation)
        return y if self.bias is None else y + self.bias[:, None, None]


class BinaryLinear(nn.Linear):
    """XNOR-Net's fully connected layer: (W·sign(I))·K, K the mean of \\|I\\| when ``scale_input``, else 1."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, scale_input: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale_input = scale_input

    def forward(self, x: Tensor) -> Tensor:
        alpha, signs = _scale_and_signs(self.weight)
        y = F.linear(binarize(x), signs) * alpha.flatten()
        if self.scale_input:
            y = y * x.abs().mean(1, keepdim=True)
        return y if self.bias is None else y + self.bias


class _FakeQuantize(torch.autograd.Function):
    """scale·(q − z) forward; the gradient passes where q was not clamped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        q = steps + zero_point
        ctx.save_for_backward((q >= 0) & (q <= 255))
        return scale * (q.clamp(0, 255) - zero_point)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inside: Tensor = ctx.saved_tensors[0]
        return gradient * inside.to(gradient.dtype), None, None, None


class Quantize(nn.Module):
    """Values that are bytes in the engine: scale·(q − z), q = clamp(⌊x/scale + ½⌋ + z, 0, 255), straight-through.

    The division is by multiplication with 1/scale, as the engine does it. Jacob et al., CVPR 2018, section 3.

    Args:
        scale: of one step, above 0 (float32).
        zero_point: the byte that stands for 0.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: float = 1.0, zero_point: int = 0) -> None:
        super().__init__()
        if not 0 < scale < float("inf") or not 0 <= zero_point <= 255:
            raise ModelError(
                f"quantize with scale {scale:g} and zero point {zero_point}: expected a scale above 0 and a byte"
            )
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale.to(x.dtype)
        with torch.no_grad():
            steps = self._steps(x, scale)
        return _FakeQuantize.apply(x, steps, scale, self.zero_point)  # type: ignore[no-any-return, no-untyped-call]

    def _steps(self, x: Tensor, scale: Tensor) -> Tensor:
        """Whole steps nearest to x."""
        return torch.floor(x * (1 / scale) + 0.5)

    def extra_repr(self) -> str:
        return f"scale={float(self.scale):g}, zero_point={int(self.zero_point)}"


class QuantizeMean(Quantize):
    """Bytes of a mean of bytes, rounded as the engine rounds it: of a sum and a ratio of 31 bits (docs/format.md).

    That turns some halves: the mean of six bytes whose sum is 9 gives 1, because 1/6 is a little less in 31 bits.

    Args:
        scale: as in :class:`Quantize`.
        zero_point: likewise.
        pixels: that the mean is of; with more than 2¹³ a sum may be rounded on the way.
        source_scale: of the bytes that it is of.
    """

    def __init__(self, scale: float = 1.0, zero_point: int = 0, pixels: int = 1, source_scale: float = 1.0) -> None:
        super().__init__(scale, zero_point)
        if pixels < 1 or not 0 < source_scale < float("inf"):
            raise ModelError(
                f"mean of {pixels} bytes of scale {source_scale:g}: expected at least one and a scale above 0"
            )
        self.pixels, self.source_scale = pixels, source_scale

    def _steps(self, x: Tensor, scale: Tensor) -> Tensor:
        sums = torch.round(x.double() * (self.pixels / self.source_scale))
        fraction, exponent = math.frexp(self.source_scale / (float(self.scale) * self.pixels))
        ratio = math.ldexp(math.floor(fraction * 2.0**31 + 0.5), exponent - 31)
        return torch.floor(sums * ratio + 0.5).to(x.dtype)


@dataclass(frozen=True)
class LayerKind:
    """A layer class with the constructor arguments that describe one."""

    module: type[nn.Module]
    fields: tuple[str, ...]


_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")

# Subclasses stand before their parents: the first match names a layer.
LAYERS: dict[str, LayerKind] = {
    "binary_conv2d": LayerKind(BinaryConv2d, (*_CONV, "bias", "scale_input")),
    "binary_linear": LayerKind(BinaryLinear, ("in_features", "out_features", "bias", "scale_input")),
    "conv2d": LayerKind(nn.Conv2d, (*_CONV, "groups", "bias")),
    "linear": LayerKind(nn.Linear, ("in_features", "out_features", "bias")),
    "batch_norm2d": LayerKind(nn.BatchNorm2d, ("num_features", "eps", "momentum")),
    "batch_norm1d": LayerKind(nn.BatchNorm1d, ("num_features", "eps", "momentum")),
    "relu": LayerKind(nn.ReLU, ()),
    "relu6": LayerKind(nn.ReLU6, ()),
    "max_pool2d": LayerKind(nn.MaxPool2d, _POOL),
    "avg_pool2d": LayerKind(nn.AvgPool2d, (*_POOL, "count_include_pad")),
    "global_avg_pool": LayerKind(nn.AdaptiveAvgPool2d, ("output_size",)),
    "flatten": LayerKind(nn.Flatten, ("start_dim",)),
    "softmax": LayerKind(nn.Softmax, ("dim",)),
    "dropout": LayerKind(nn.Dropout, ("p",)),
    "dropout2d": LayerKind(nn.Dropout2d, ("p",)),
    "add": LayerKind(Add, ()),
    "concat": LayerKind(Concat, ()),
    "channel_shuffle": LayerKind(nn.ChannelShuffle, ("groups",)),
    "quantize_mean": LayerKind(QuantizeMean, ("pixels", "source_scale")),
    "quantize": LayerKind(Quantize, ()),
}


def pair(value: object) -> tuple[int, int]:
    """(height, width) of a size that torch may hold as one number, a list of one, or two."""
    if isinstance(value, int):
        return value, value
    assert isinstance(value, Sequence)
    return int(value[0]), int(value[-1])


def is_depthwise(layer: nn.Module) -> bool:
    """True for a convolution whose every output reads one input: it hands channels on."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


def kind_of(layer: nn.Module) -> str:
    """Name of the layer's kind; a :class:`ModelError` for a module that no network may hold."""
    for name, kind in LAYERS.items():
        if isinstance(layer, kind.module):
            return name
    raise ModelError(f"layer of type {type(layer).__name__}: camfit knows {', '.join(LAYERS)}")


def describe(layer: nn.Module) -> tuple[str, dict[str, object]]:
    """(kind, constructor arguments) of a layer."""
    kind = kind_of(layer)
    arguments = {field: getattr(layer, field) for field in LAYERS[kind].fields}
    if "bias" in arguments:
        arguments["bias"] = arguments["bias"] is not None
    return kind, arguments


def build(kind: str, arguments: dict[str, object]) -> nn.Module:
    """The layer that ``describe`` described, with fresh parameters."""
    if kind not in LAYERS:
        raise ModelError(f"layer kind {kind!r}: expected one of {', '.join(LAYERS)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    return LAYERS[kind].module(**values)
