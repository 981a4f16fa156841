"""The integer layers of the walk in c_calls.py: their structs and calls."""

from __future__ import annotations

import numpy as np

from camfit.errors import ExportError
from camfit.export import c_integers as integers
from camfit.export.c_constants import Constants
from camfit.pack.integer import Bytes
from camfit.pack.lower import Op
from camfit.pack.read import Shape

# (2·sum + count) of bytes stays within 31 bits.
_LARGEST_WINDOW = (2**31 - 1) // 511


def layer_struct(
    constants: Constants,
    number: int,
    name: str,
    source: Bytes,
    bias: np.ndarray | None = None,
    to: integers.Rescale | None = None,
) -> str:
    """Defines an ``int8_layer``; returns its address. Without ``to`` the layer gives sums."""
    fields: list[object] = [constants.array(number, f"{name}_bias", bias) if bias is not None else 0]
    if to is None:
        fields += [0, 0, source.zero, 0, 0, 0]
    else:
        fields.append(constants.array(number, f"{name}_multiplier", to.multiplier))
        fields.append(constants.array(number, f"{name}_shift", to.shift))
        fields += [source.zero, to.zero, to.low, to.high]
    return constants.struct("int8_layer", name, fields)


def weighted_struct(constants: Constants, number: int, op: Op, source: Bytes, level: Bytes | None) -> str:
    """The ``int8_layer`` of a convolution or a linear layer."""
    _, scale, bias = op.weights
    assert scale is not None
    unit = integers.units(scale, source)
    to = None if level is None else integers.rescale(unit / level.scale, activation_of(op), level)
    return layer_struct(constants, number, f"layer{number}_output", source, integers.biases(bias, unit), to)


def mean_struct(constants: Constants, number: int, pixels: int, source: Bytes, level: Bytes) -> str:
    """The ``int8_layer`` of a global mean."""
    to = integers.rescale(np.array([source.scale / (level.scale * pixels)]), 0, level)
    return layer_struct(constants, number, f"layer{number}_output", source, None, to)


def fixed_struct(constants: Constants, number: int, op: Op, source: Bytes) -> tuple[str, int]:
    """The ``int8_layer`` that makes fixed-point outputs of a last layer's sums, and their bits behind the point."""
    if op.op == "dequantize":
        to, bits = integers.fixed(np.array([source.scale]), np.array([255.0]), 0)
    else:
        weight, scale, bias = op.weights
        assert weight is not None and scale is not None
        unit = integers.units(scale, source)
        largest = 255.0 * np.abs(weight.values.numpy().astype(np.float64)).reshape(len(unit), -1).sum(1)
        offset = integers.biases(bias, unit)
        largest += 0 if offset is None else np.abs(offset.astype(np.float64))
        to, bits = integers.fixed(unit, largest, activation_of(op))
    return layer_struct(constants, number, f"layer{number}_fixed", source, None, to), bits


def activation_of(op: Op) -> int:
    """Of a convolution or a linear layer."""
    return op.attributes[12 if op.op == "int8_conv2d" else 1]


def moving(op: Op, into: Shape, out: Shape) -> str:
    """The arguments of a slice or of depth_to_space, before its two places."""
    if op.op == "slice":
        return f"{into[0] * into[1]}, {into[2]}, {op.attributes[0]}, {op.attributes[1]}"
    return ", ".join(map(str, (*out, into[1], *op.attributes[:4])))


def moved(op: Op, level: Bytes, into: Shape, out: Shape, window: str, ends: str, source: str) -> tuple[str, str]:
    """(kernel, call) of an op that takes bytes as they are.

    Raises:
        ExportError: a window too large for sums of 32 bits.
    """
    pixels, channels = into[0] * into[1], into[2]
    kernel = f"int8_{op.op}"
    if op.op == "max_pool":
        return kernel, f"{kernel}({window}, {ends});"
    if op.op == "avg_pool":
        if op.attributes[0] * op.attributes[1] > _LARGEST_WINDOW:
            raise ExportError(f"{source}: layer {op.name!r}: a mean of more than {_LARGEST_WINDOW:,} bytes")
        return kernel, f"{kernel}({window}, {op.attributes[8]}, {level.zero}, {ends});"
    if op.op == "activation":
        low, high = integers.bounds(op.attributes[0], level)
        return kernel, f"{kernel}({pixels * channels}, {low}, {high}, {ends});"
    if op.op == "channel_shuffle":
        return kernel, f"{kernel}({pixels}, {channels}, {op.attributes[0]}, {ends});"
    if op.op in ("depth_to_space", "slice"):
        return kernel, f"{kernel}({moving(op, into, out)}, {ends});"
    return kernel, f"{kernel}({pixels}, {channels}, {ends});"  # flatten
