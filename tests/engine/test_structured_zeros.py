"""Convolutions with structured zeros, which the engine finds at load, against the same values in form dense."""

from __future__ import annotations

import numpy as np
import pytest

from engine.test_forms import check_equal, codebook, index_values, sparse
from engine.writer import RELU, Net, Weight, dense, half

SHAPES = [(40, 24, 3, 1), (20, 17, 5, 1), (33, 16, 3, 2), (16, 16, 1, 1), (24, 3, 3, 1)]


def kept_weights(scale: str, shape: tuple[int, ...], density: float, rng: np.random.Generator) -> np.ndarray:
    """Bool of the weight's shape: what is left at this scale."""
    rows, channels, height, width = shape
    if scale == "intra-kernel":
        return np.broadcast_to(rng.random((1, channels, height, width)) < density, shape)
    if scale == "group":
        panels = rng.random((-(-rows // 16), channels, 1, 1)) < density
        return np.broadcast_to(np.repeat(panels, 16, 0)[:rows], shape)
    return np.broadcast_to(rng.random((rows, channels, 1, 1)) < density, shape)


@pytest.mark.parametrize("form", ["sparse", "codebook"])
@pytest.mark.parametrize("density", [0.0, 0.15, 0.4, 0.8])
@pytest.mark.parametrize("scale", ["intra-kernel", "group", "kernel"])
def test_structured_zeros_change_nothing(scale: str, density: float, form: str) -> None:
    rng = np.random.default_rng(3)
    for rows, channels, size, stride in SHAPES:
        shape = (rows, channels, size, size)
        kept = kept_weights(scale, shape, density, rng)
        index = np.where(kept, rng.integers(0, 9, shape), -1).astype(np.int32)
        values = rng.normal(size=9)
        dense_values = index_values(index, values)
        if form == "sparse":
            dense_values = np.where(kept, rng.normal(size=shape), 0).astype(np.float32)
        weight = codebook(index, values) if form == "codebook" else sparse(dense_values)

        def make_net(weight: Weight, channels: int = channels, rows: int = rows, stride: int = stride) -> Net:
            net = Net((19, 18, channels), scale=[0.01] * channels, shift=[-1.0] * channels, version=2)
            net.conv2d(
                weight, stride=(stride, stride), pad=(1, 1, 1, 1), activation=RELU, bias=half(np.linspace(-1, 1, rows)),
                scale=dense(np.full(rows, 0.2)),
            )  # fmt: skip
            return net

        check_equal(make_net, weight, dense_values)
