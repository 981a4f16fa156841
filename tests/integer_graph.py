"""The integer ops of docs/format.md in plain numpy: an oracle that shares no arithmetic with the engine or with torch's
fake quantization.

``run(ops, images)`` executes what :func:`camfit.pack.lower.lower` made. Integers are int64 throughout; sums of products
are taken in float64, which holds them exactly. Float ops are torch's, in float32.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camfit.forms import Sign
from camfit.pack.lower import Op, Weight

RELU, RELU6 = 1, 2


@dataclass
class Value:
    """Float32 values, or int64 bytes with their scale (a float32) and zero point. Layout [N, C, H, W] or [N, F]."""

    data: np.ndarray
    scale: float = 0.0
    zero: int = 0

    @property
    def is_bytes(self) -> bool:
        return self.scale != 0.0


def run(ops: list[Op], images: Tensor) -> list[Value]:
    """Every value, the normalised input first; the last is the output."""
    values = [Value(images.float().numpy())]
    for op in ops:
        values.append(step(op, [values[number] for number in op.inputs]))
    return values


def step(op: Op, inputs: list[Value]) -> Value:
    """One op's value."""
    x = inputs[0]
    if op.op == "quantize":
        return quantize(x.data, *meaning(op.attributes))
    if op.op == "dequantize":
        return Value(np.float32(x.scale) * (x.data - x.zero).astype(np.float32))
    if op.op in ("int8_conv2d", "int8_linear"):
        return weighted(op, x)
    if op.op == "int8_add":
        return addition(op, *inputs)
    if op.op == "int8_global_avg_pool":
        return average(op, x)
    if x.is_bytes:
        return moved(op, inputs)
    return Value(float_op(op, [torch.from_numpy(value.data) for value in inputs]).numpy())


def meaning(attributes: list[int]) -> tuple[float, int]:
    """(scale, zero point) from the two last attributes."""
    bits, zero = attributes[-2:]
    return float(struct.unpack("<f", struct.pack("<I", bits))[0]), zero


def quantize(x: np.ndarray, scale: float, zero: int) -> Value:
    with np.errstate(over="ignore"):
        q = np.floor(x.astype(np.float32) * (np.float32(1) / np.float32(scale)) + np.float32(0.5)) + np.float32(zero)
    return Value(np.clip(np.nan_to_num(q, nan=0), 0, 255).astype(np.int64), scale, zero)


def bounds(code: int, scale: float, zero: int) -> tuple[int, int]:
    """Least and largest byte behind an activation."""
    high = min(255, zero + math.floor(6.0 / scale + 0.5)) if code == RELU6 else 255
    return (zero if code else 0), high


def rescale(sums: np.ndarray, ratio: float, code: int, scale: float, zero: int) -> np.ndarray:
    """clamp(zero + sums·ratio), the ratio as a 31-bit multiplier and a shift."""
    fraction, exponent = math.frexp(ratio)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = 1 << 30, exponent + 1
    shift = 31 - exponent
    assert shift >= 1
    if shift > 62:
        multiplier, shift = 0, 62
    assert int(np.abs(sums).max()) * ratio < 2**30
    rounded = (sums * multiplier + (1 << (shift - 1))) >> shift
    return np.clip(rounded + zero, *bounds(code, scale, zero))


def weighted(op: Op, x: Value) -> Value:
    weight, scales, bias = op.weights
    assert weight is not None and scales is not None
    q, w = torch.from_numpy(x.data - x.zero).double(), weight.values.double()
    if op.op == "int8_conv2d":
        code = op.attributes[12]
        sums = convolution(op.attributes, q, w).numpy().astype(np.int64)
    else:
        code = op.attributes[1]
        sums = (q @ w.T).numpy().astype(np.int64)
    step_sizes = [float(s) for s in scales.values]
    out_scale, out_zero = meaning(op.attributes)
    result = np.zeros(sums.shape, np.int64 if out_scale else np.float32)
    for c, size in enumerate(step_sizes):
        acc = sums[:, c]
        if bias is not None:
            acc = acc + math.floor(float(bias.values[c]) / (x.scale * size) + 0.5)
        assert int(np.abs(acc).max()) < 2**31
        if out_scale:
            result[:, c] = rescale(acc, x.scale * size / out_scale, code, out_scale, out_zero)
        else:
            y = acc.astype(np.float32) * np.float32(x.scale * size)
            if code:
                y = np.maximum(y, np.float32(0))
            result[:, c] = np.minimum(y, np.float32(6)) if code == RELU6 else y
    return Value(result, out_scale, out_zero)


def addition(op: Op, a: Value, b: Value) -> Value:
    scale, zero = meaning(op.attributes)
    ratios = [value.scale / scale for value in (a, b)]
    shift = min(21 - math.frexp(max(ratios))[1], 30)
    assert shift >= 1
    ma, mb = (math.floor(ratio * 2.0**shift + 0.5) for ratio in ratios)
    total = ((a.data - a.zero) * ma + (b.data - b.zero) * mb + (1 << (shift - 1))) >> shift
    return Value(np.clip(total + zero, *bounds(op.attributes[0], scale, zero)), scale, zero)


def average(op: Op, x: Value) -> Value:
    scale, zero = meaning(op.attributes)
    count = x.data.shape[2] * x.data.shape[3]
    sums = x.data.sum((2, 3), keepdims=True) - x.zero * count
    return Value(rescale(sums, x.scale / (scale * count), 0, scale, zero), scale, zero)


def moved(op: Op, inputs: list[Value]) -> Value:
    """An op that takes bytes as they are."""
    x = inputs[0]
    assert all((value.scale, value.zero) == (x.scale, x.zero) for value in inputs)
    q = [torch.from_numpy(value.data).double() for value in inputs]
    if op.op == "avg_pool":
        kh, kw, sh, sw, top, left, bottom, right, include = op.attributes
        ones = torch.ones_like(q[0])
        fill = float(x.zero) if include else 0.0
        window = q[0].new_ones(q[0].shape[1], 1, kh, kw)
        sums, counts = (
            F.conv2d(F.pad(t, (left, right, top, bottom), value=v), window, stride=(sh, sw), groups=t.shape[1])
            for t, v in ((q[0], fill), (ones, 1.0 if include else 0.0))
        )
        s, k = sums.numpy().astype(np.int64), counts.numpy().astype(np.int64)
        return Value((2 * s + k) // (2 * k), x.scale, x.zero)
    if op.op == "activation":
        _, high = bounds(op.attributes[0], x.scale, x.zero)
        return Value(np.minimum(np.maximum(x.data, x.zero), high), x.scale, x.zero)
    return Value(float_op(op, q).numpy().astype(np.int64), x.scale, x.zero)


# -- float ops -------------------------------------------------------------------------------------------------


def convolution(attributes: list[int], x: Tensor, weight: Tensor) -> Tensor:
    _, _, _, sh, sw, top, left, bottom, right, dh, dw, groups = attributes[:12]
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, None, (sh, sw), 0, (dh, dw), groups)


def float_op(op: Op, x: list[Tensor]) -> Tensor:
    name, attributes = op.op, op.attributes
    if name in ("conv2d", "linear"):
        y = convolution(attributes, x[0], dense(op)) if name == "conv2d" else x[0] @ dense(op).T
        return activated(y + along(op.weights[2], y), attributes[12] if name == "conv2d" else attributes[1])
    if name == "affine":
        return activated(x[0] * along(op.weights[0], x[0]) + along(op.weights[1], x[0]), attributes[0])
    if name in ("max_pool", "avg_pool"):
        kh, kw, sh, sw, top, left, bottom, right = attributes[:8]
        if name == "max_pool":
            return F.max_pool2d(F.pad(x[0], (left, right, top, bottom), value=-math.inf), (kh, kw), (sh, sw))
        padded = [F.pad(t, (left, right, top, bottom)) for t in (x[0], torch.ones_like(x[0]))]
        sums, real = (F.avg_pool2d(t, (kh, kw), (sh, sw)) for t in padded)
        return sums if attributes[8] else sums / real
    if name == "global_avg_pool":
        return x[0].mean((2, 3), keepdim=True)
    if name == "add":
        return activated(x[0] + x[1], attributes[0])
    if name == "concat":
        return torch.cat(x, 1)
    if name == "activation":
        return activated(x[0], attributes[0])
    if name == "flatten":
        return x[0].flatten(1)
    if name == "softmax":
        return x[0].softmax(1)
    if name == "slice":
        return x[0].narrow(1, *attributes)
    if name == "depth_to_space":
        high, wide, top, left, bottom, right = attributes
        image = x[0] if x[0].dim() == 4 else x[0][:, :, None, None]
        image = image.unflatten(1, (high, wide, -1)).permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
        return image[:, :, top : image.shape[2] - bottom, left : image.shape[3] - right]
    assert name == "channel_shuffle"
    return F.channel_shuffle(x[0], attributes[0]) if x[0].dim() == 4 else x[0]


def dense(op: Op) -> Tensor:
    weight, scale, _ = op.weights
    assert weight is not None and not isinstance(weight.form, Sign)
    return (
        weight.values if scale is None else weight.values * scale.values.reshape(-1, *[1] * (weight.values.dim() - 1))
    )


def along(vector: Weight | None, like: Tensor) -> Tensor:
    return torch.zeros(1) if vector is None else vector.values.reshape(1, -1, *[1] * (like.dim() - 2))


def activated(x: Tensor, code: int) -> Tensor:
    return x.clamp(0, 6) if code == RELU6 else x.relu() if code == RELU else x
