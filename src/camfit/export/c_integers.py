"""The integer ops of a C export: zero points, biases, multipliers and shifts, derived in float64 as the engine does at
load (docs/format.md, "Integers")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camfit.pack.integer import Bytes, float_of
from camfit.pack.lower import Op, Weight

RELU6 = 2
_LEAST, _MOST = -(2**30), 2**30  # of fixed-point outputs
_LARGEST_TABLES = 64  # of the input's bytes


@dataclass(frozen=True)
class Rescale:
    """From sums A to outputs: clamp(zero + (A·multiplier + 2^(shift−1) ≫ shift), low, high), per channel or for all.

    Attributes:
        multiplier: int32 [channels] or [1]; shift: uint8, alike.
    """

    multiplier: np.ndarray
    shift: np.ndarray
    zero: int
    low: int
    high: int


@dataclass(frozen=True)
class Whole:
    """A network whose values are all bytes, from its first layer that does anything to what its outputs are made from.

    Attributes:
        first: the layer that quantizes the input, which nothing else reads.
        last: the layer whose sums, or (dequantize) whose bytes, become the outputs; behind it is at most a soft-max.
        softmax: whether it is.
    """

    first: int
    last: int
    softmax: bool


def levels_of(ops: list[Op]) -> list[Bytes | None]:
    """What the bytes of every value mean, value 0 first; None: it is of floats."""
    levels: list[Bytes | None] = [None]
    for op in ops:
        if op.op in ("quantize", "int8_conv2d", "int8_linear", "int8_add", "int8_global_avg_pool"):
            bits, zero = op.attributes[-2:]
            levels.append(Bytes(float_of(bits), zero) if bits else None)
        elif op.op == "dequantize":
            levels.append(None)
        else:
            levels.append(levels[op.inputs[0]])
    return levels


def whole(ops: list[Op], levels: list[Bytes | None], does_nothing: list[bool]) -> Whole | None:
    """The network's two ends if it is integer throughout.

    Args:
        does_nothing: of every layer, that its output is its input as it lies in memory.
    """
    busy = [number for number, idle in enumerate(does_nothing) if not idle]
    floats = [number for number in busy if levels[number + 1] is None]
    if not floats or ops[busy[0]].op != "quantize":
        return None
    # Values that are the input, by the layers in front of the first one that does anything.
    raw = {0, *(number + 1 for number in range(busy[0]))}
    if sum(value in raw for number in busy for value in ops[number].inputs) != 1:
        return None
    last = floats[0]
    if ops[last].op not in ("int8_conv2d", "int8_linear", "dequantize"):
        return None
    behind = [ops[number].op for number in busy if number > last]
    return Whole(busy[0], last, bool(behind)) if behind in ([], ["softmax"]) else None


def input_table(scale: np.ndarray, shift: np.ndarray, level: Bytes) -> np.ndarray | None:
    """The byte that each byte of an image becomes, uint8 [channels, 256], or [1, 256] where all channels' are equal.

    None: there are more channels than an image has.
    """
    values = np.arange(256, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        normal = values * scale.astype(np.float32)[:, None] + shift.astype(np.float32)[:, None]
        step = np.floor(normal * inverse(level) + np.float32(0.5)) + np.float32(level.zero)
    table = np.where(step > 0, np.minimum(step, np.float32(255)), np.float32(0)).astype(np.uint8)
    if (table == table[0]).all():
        return table[:1]
    return table if len(table) <= _LARGEST_TABLES else None


def inverse(level: Bytes) -> np.float32:
    """1/scale as quantize multiplies with it."""
    return np.float32(1) / np.float32(level.scale)


def bounds(code: int, level: Bytes) -> tuple[int, int]:
    """Least and largest byte behind an activation."""
    high = min(255, math.floor(6.0 / level.scale + 0.5) + level.zero) if code == RELU6 else 255
    return (level.zero if code else 0), int(high)


def units(scale: Weight, source: Bytes) -> np.ndarray:
    """The real value of a step of each channel's sums, float64 [channels]."""
    found: np.ndarray = source.scale * scale.values.numpy().astype(np.float64)
    return found


def biases(bias: Weight | None, unit: np.ndarray) -> np.ndarray | None:
    """In steps of the sums, int32 [channels]."""
    if bias is None:
        return None
    steps: np.ndarray = np.floor(bias.values.numpy().astype(np.float64) / unit + 0.5).astype(np.int32)
    return steps


def rescale(ratio: np.ndarray, code: int, level: Bytes) -> Rescale:
    """Of sums to bytes. ``ratio``: float64, steps of the output a step of the sum."""
    return Rescale(*_multipliers(ratio), level.zero, *bounds(code, level))


def fixed(ratio: np.ndarray, largest: np.ndarray, code: int) -> tuple[Rescale, int]:
    """Of sums to int32 with one binary point for all channels, and how many bits lie behind it.

    Args:
        ratio: the real value of a step of the sums, float64 [channels] or [1].
        largest: |sum| at most, alike.
        code: the activation.
    """
    bits = 30 - math.frexp(float((np.maximum(largest, 1) * ratio).max()))[1]
    six = math.ldexp(6.0, min(bits, 30))
    high = min(_MOST, math.floor(six + 0.5)) if code == RELU6 else _MOST
    return Rescale(*_multipliers(np.ldexp(ratio, bits)), 0, 0 if code else _LEAST, high), bits


def addition(op: Op, a: Bytes, b: Bytes, level: Bytes) -> list[int]:
    """The fields of c/int8_add.c's struct."""
    ratios = [one.scale / level.scale for one in (a, b)]
    shift = min(21 - math.frexp(max(ratios))[1], 30)
    multipliers = [math.floor(math.ldexp(ratio, shift) + 0.5) for ratio in ratios]
    return [a.zero, b.zero, *multipliers, shift, level.zero, *bounds(op.attributes[0], level)]


def _multipliers(ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ratio = multiplier·2^−shift: 31 bits, rounded half up; below 2^−31 the multiplier is 0."""
    mantissa, exponent = np.frexp(ratio)
    multiplier = np.floor(np.ldexp(mantissa, 31) + 0.5).astype(np.int64)
    carried = multiplier == 1 << 31
    multiplier[carried] >>= 1
    shift = 31 - (exponent + carried)
    tiny = shift > 62
    multiplier[tiny], shift[tiny] = 0, 62
    return multiplier.astype(np.int32), shift.astype(np.uint8)
