"""Ranges of values that were seen, and the steps that bytes take in them.

One look is enough: the exact least and largest value, and a histogram of up to :data:`SAMPLE` values a batch.
Percentile, squared error and entropy (Migacz, 8-bit inference with TensorRT, GTC 2017) are computed from the histogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rule = Literal["min-max", "percentile", "mse", "entropy"]
Scheme = Literal["affine", "symmetric"]
Array = npt.NDArray[np.float64]

BINS = 8192
SAMPLE = 1 << 17


@dataclass(frozen=True)
class Steps:
    """real = scale·(q − zero): the bytes of a value. The scale is a float32."""

    scale: float
    zero: int


def power_of_two(scale: float) -> float:
    """The least power of two that is not below ``scale``, above 0."""
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)


def steps(low: float, high: float, scheme: Scheme, powers_of_two: bool = False) -> Steps:
    """The steps that cover low..high and hold 0 exactly.

    affine: 255 steps between the two; symmetric: zero point 128 and ±127 steps, or 0 and 255 where nothing is negative.
    ``powers_of_two``: the step is the next such one.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    signed = scheme == "symmetric" and low < 0
    scale = max(-low, high) / 127 if signed else (high - low) / 255
    if powers_of_two and scale > 0:
        scale = power_of_two(scale)
    zero = 128 if signed else math.floor(-low / scale + 0.5) if scale > 0 else 0
    # The file holds scales from 1e-18 on; a value that is always 0 may have any.
    return Steps(float(np.float32(scale)), zero) if scale > 1e-15 else Steps(1.0, 0)


class Histogram:
    """Values counted in BINS equal bins over −reach .. reach, reach a power of two that grows as values come.

    Exact zeros are counted apart: every steps hold them exactly, and behind a ReLU they would drown the rest.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0
        self.exponent: int | None = None
        self.counts: Array = np.zeros(BINS)

    @property
    def reach(self) -> float:
        """Upper end of the last bin."""
        return math.ldexp(1.0, self.exponent or 0)

    @property
    def finite(self) -> bool:
        """False when nothing was seen, or something not finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def see(self, values: Tensor) -> None:
        """Counts values: the ends exactly, the bins from a regular sample."""
        if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
            values = values.permute(0, 2, 3, 1)  # as it lies in memory: no copy
        flat = values.detach().reshape(-1)
        if not flat.numel():
            return
        low, high = (float(end) for end in torch.aminmax(flat))
        self.low, self.high = min(self.low, low), max(self.high, high)
        if not self.finite:
            self.low, self.high = math.nan, math.nan
            return
        largest = max(-low, high)
        if largest > 0:
            self._grow(math.frexp(largest)[1])
        sample = flat[:: -(-flat.numel() // SAMPLE) | 1].contiguous()  # an odd step meets every column of even rows
        zeros = sample.numel() - int(torch.count_nonzero(sample))
        self.zeros += zeros
        if self.exponent is not None and zeros < sample.numel():
            counts = torch.histc(sample, BINS, -self.reach, self.reach).double().cpu().numpy()
            counts[BINS // 2] -= zeros
            self.counts += counts

    def merge(self, other: Histogram) -> None:
        """Adds what another histogram has seen."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.zeros += other.zeros
        if other.exponent is not None:
            copy = Histogram()
            copy.exponent, copy.counts = other.exponent, other.counts.copy()
            self._grow(other.exponent)
            assert self.exponent is not None
            copy._grow(self.exponent)
            self.counts += copy.counts

    def _grow(self, exponent: int) -> None:
        if self.exponent is None:
            self.exponent = exponent
        while self.exponent < exponent:  # twice the reach: neighbours join, and fill the middle half
            joined = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros(BINS)
            self.counts[BINS // 4 : -BINS // 4] = joined
            self.exponent += 1

    def edges(self) -> Array:
        """Borders of the bins [BINS + 1]."""
        return np.linspace(-self.reach, self.reach, BINS + 1)


def clipped(seen: Histogram, rule: Rule, scheme: Scheme, percentile: float) -> tuple[float, float]:
    """The range (low, high) that the rule gives to the bytes."""
    if rule == "min-max" or not seen.counts.any():
        return seen.low, seen.high
    if rule == "percentile":
        return by_percentile(seen, percentile)
    if rule == "mse":
        return by_squared_error(seen, scheme)
    return by_entropy(seen, 127 if seen.low < 0 else 255)


def by_percentile(seen: Histogram, percentile: float) -> tuple[float, float]:
    """The central range that holds ``percentile`` % of the values above and below alike: each tail loses the rest."""
    counts = seen.counts.copy()
    counts[BINS // 2] += seen.zeros
    total = counts.sum()
    tail = total * (1 - percentile / 100)
    edges = seen.edges()
    cumulative = np.concatenate([[0.0], counts.cumsum()])
    low = edges[np.searchsorted(cumulative, tail, side="right") - 1]
    high = edges[np.searchsorted(cumulative, total - tail, side="left")]
    return max(seen.low, float(low)), min(seen.high, float(high))


def by_squared_error(seen: Histogram, scheme: Scheme) -> tuple[float, float]:
    """The range whose bytes have the least squared error, found end by end among 64 parts of each side."""
    edges, alive = seen.edges(), seen.counts > 0
    centres, counts = ((edges[1:] + edges[:-1]) / 2)[alive], seen.counts[alive]
    parts = np.arange(64, 0, -1) / 64
    low, high = seen.low, seen.high

    def error(low: float, high: float) -> float:
        found = steps(low, high, scheme)
        q = np.clip(np.floor(centres / found.scale + 0.5) + found.zero, 0, 255)
        return float((counts * (centres - found.scale * (q - found.zero)) ** 2).sum())

    if scheme == "symmetric" and low < 0 < high:
        largest = max(-low, high)
        best = min(parts, key=lambda part: error(-part * largest, part * largest))
        return max(low, -float(best) * largest), min(high, float(best) * largest)
    for _ in range(2 if low < 0 < high else 1):
        if high > 0:
            high = min((seen.high * float(part) for part in parts), key=lambda end: error(low, end))
        if low < 0:
            low = min((seen.low * float(part) for part in parts), key=lambda end: error(end, high))
    return low, high


def by_entropy(seen: Histogram, levels: int) -> tuple[float, float]:
    """The range ±T whose magnitudes, in so many levels, lose the least information (Kullback-Leibler divergence)."""
    half = BINS // 2
    magnitudes = seen.counts[half:] + seen.counts[:half][::-1]
    used = int(np.flatnonzero(magnitudes)[-1]) + 1
    if used <= levels:
        return seen.low, seen.high
    candidates = sorted({*range(levels, used, max(1, used // 256)), used})
    best = min(reversed(candidates), key=lambda kept: divergence(magnitudes, kept, levels))
    threshold = best * seen.reach / half
    return max(seen.low, -threshold), min(seen.high, threshold)


def divergence(magnitudes: Array, kept: int, levels: int) -> float:
    """KL(P ‖ Q) in nats: P is the first ``kept`` bins with all beyond added to the last, Q these bins in ``levels``
    levels, each spread evenly over its bins that are not empty."""
    bins = magnitudes[:kept]
    p = bins.copy()
    p[-1] += magnitudes[kept:].sum()
    level = np.arange(kept) * levels // kept
    alive = bins > 0
    sums = np.bincount(level, weights=bins, minlength=levels)
    sizes = np.bincount(level, weights=alive, minlength=levels)
    q = np.where(alive, (sums / np.maximum(sizes, 1))[level], 0.0)
    if not q.any():
        return math.inf
    p, q = p / p.sum(), q / q.sum()
    inside = p > 0
    # Where only clipped values lie, Q is empty; a small chance keeps the sum finite and large.
    return float((p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-9))).sum())
