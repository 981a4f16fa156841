"""The integer ops' arithmetic as far as lowering must know it: which sums and ratios fit their 32 bits.

docs/format.md has the arithmetic itself. What does not fit runs in float instead.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.layers import Quantize

# Of the largest |sum| times its ratio, and of a ratio itself.
_RESULT = 2.0**30


@dataclass(frozen=True)
class Bytes:
    """What the bytes of a value mean: real = scale·(q − zero). The scale is a float32."""

    scale: float
    zero: int

    @classmethod
    def of(cls, layer: Quantize) -> Bytes:
        """The bytes that the layer makes."""
        return cls(float(layer.scale.float()), int(layer.zero_point))

    @property
    def attributes(self) -> list[int]:
        """Scale (the bits of the float32) and zero point."""
        return [float_bits(self.scale), self.zero]


def float_bits(value: float) -> int:
    """A float32's bits as an unsigned number."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def float_of(bits: int) -> float:
    """The float32 of these bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def sum_limits(integers: Tensor, scale: Tensor, bias: Tensor | None, source: Bytes) -> Tensor:
    """Largest |Σ (q − z)·w + B| of each output channel [cout], float64.

    Args:
        integers: the weight [cout, ...].
        scale: float32 [cout].
        bias: float32 [cout], real units.
    """
    limits = 255 * integers.double().flatten(1).abs().sum(1)
    if bias is not None:
        limits = limits + torch.floor(bias.double() / (source.scale * scale.double()) + 0.5).abs()
    return limits


def sums_fit(limits: Tensor) -> bool:
    """True where every sum fits 32 bits."""
    return bool((limits < 2.0**31).all())


def results_fit(limits: Tensor, scale: Tensor, source: Bytes, target: Bytes) -> bool:
    """True where sums within the limits may be rescaled to the target."""
    ratio = source.scale * scale.double() / target.scale
    return bool((ratio < _RESULT).all() and (limits * ratio < _RESULT).all())


def addition_fits(one: Bytes, other: Bytes, target: Bytes) -> bool:
    """True where both ratios leave a bit to round: the larger is below 2²⁰."""
    return math.frexp(max(one.scale, other.scale) / target.scale)[1] <= 20


def average_fits(count: int, source: Bytes, target: Bytes) -> bool:
    """True where the sum of ``count`` bytes may be rescaled to their mean."""
    ratio = source.scale / (target.scale * count)
    return 255 * count < 2**31 and ratio < _RESULT and 255 * count * ratio < _RESULT
