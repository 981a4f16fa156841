"""A convolution of bytes is pooled as it is computed: one step, no room for the convolution's whole output, the same
bits (engine/tests/fuse_pool_test.cpp has random geometries)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import integer_graph
from camfit import _native, zoo
from camfit.data import Normalisation
from camfit.method import Calibration
from camfit.methods.precision.fixed_point import FixedPoint
from camfit.pack import pack
from camfit.pack.lower import lower
from camfit.surgery import apply
from camfit.trace import trace
from engine.run import ISAS, MODES
from engine.test_integers import scales
from engine.writer import RELU, Net, integers, level


def test_fixed_point_lenet5() -> None:
    torch.manual_seed(0)
    network = trace(zoo.build("lenet5", (1, 28, 28), 10), (1, 28, 28)).eval()
    x = torch.rand(3, 1, 28, 28)
    result = apply(network, FixedPoint().plan(network, Calibration(x, torch.zeros(3, dtype=torch.int64)))).eval()
    ops = lower(result)
    data = pack(result, Normalisation((1.0,), (0.0,))).data
    expected = integer_graph.run(ops, x)[-1].data
    for isa, mode, threads in itertools.product(ISAS, MODES, (1, 2)):
        engine = _native.Engine(data, threads, mode, isa)
        np.testing.assert_array_equal(engine.run(x.permute(0, 2, 3, 1).contiguous().numpy()), expected)
        pools = [number for number, op in enumerate(ops) if op.op == "max_pool"]
        assert len(pools) == 2 and not {layer for layer, *_ in engine.plan} & set(pools)
        # The most is the float input beside its bytes, in blocks of 64 bytes; 24 x 24 x 20 + 12 x 12 x 20 otherwise.
        assert engine.memory["arena_bytes"] == 28 * 28 * 4 + 832


def stage(pool: str = "max_pool", kernel: int = 2, readers: int = 1, between: bool = False) -> Net:
    """A convolution of 6 x 6 outputs and its pool."""
    net = Net((8, 8, 1))
    net.quantize(1.0, 0)
    conv = net.int8_conv2d(integers(np.ones((4, 1, 3, 3))), scales(*[1.0] * 4), level(9.0, 0), activation=RELU)
    if between:
        net.add_node("activation", None, [RELU])
    net.pool(pool, (kernel, kernel), stride=(2, 2), count_include_pad=None if pool == "max_pool" else False)
    net.add_node("dequantize")
    if readers == 2:
        net.add_node("global_avg_pool", net.add_node("dequantize", conv))
        net.add_node("global_avg_pool", len(net.nodes) - 2)
        net.add_node("concat", [len(net.nodes) - 1, len(net.nodes)])
    return net


@pytest.mark.parametrize(
    ("net", "fused"),
    [
        (stage(), True),
        (stage("avg_pool"), True),
        (stage(kernel=3), True),
        (stage(kernel=6), False),  # one row of outputs reads them all
        (stage(readers=2), False),
        (stage(between=True), False),
    ],
    ids=["max", "mean", "overlapping", "global", "two readers", "not next"],
)
def test_what_is_fused(net: Net, fused: bool) -> None:
    pool = next(number for number, node in enumerate(net.nodes) if node.op in (5, 6))
    assert (pool not in {layer for layer, *_ in _native.Engine(net.encode()).plan}) == fused


def test_few_rows_are_shared_by_two_threads_only_unfused() -> None:
    """Threads share rows of the pool, of which there are three."""
    data = stage().encode()
    assert [len(_native.Engine(data, threads).plan) for threads in (1, 2)] == [3, 4]
