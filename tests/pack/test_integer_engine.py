"""Integer graphs, to the bit: the engine, whatever its kernels, computes what tests/integer_graph.py computes; and the
oracle's every integer op is within a step of torch's layers on the same bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import integer_graph
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.lower import Op, lower
from engine.run import ISAS, MODES
from integer_graph import Value
from networks import Allowed, inputs, quantized, random_network, with_forms

# The order of a sum's terms is free there, and a rounded value may fall to another byte.
FLOAT_OPS = {"conv2d", "linear", "affine", "softmax", "add", "global_avg_pool"}


def images(network: Network, x: Tensor) -> np.ndarray:
    """The batch in the engine's layout."""
    made = x if x.dim() == 4 else x[:, :, None, None]
    return made.permute(0, 2, 3, 1).contiguous().numpy()


def assert_exact(network: Network, seed: int) -> bool:
    """Compares engine and oracle; to the bit unless a float op comes before an integer one. True where it did not."""
    x = inputs(network, seed, 3)
    ops = lower(network)
    expected = integer_graph.run(ops, x)[-1].data
    expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
    channels = network.input_shape[0]
    data = pack(network, Normalisation((1.0,) * channels, (0.0,) * channels)).data
    exact = not FLOAT_OPS & {op.op for op in ops}
    for isa, mode, threads in itertools.product(ISAS, MODES, (1, 2)):
        engine = Engine(data, isa=isa, mode=mode, threads=threads)  # type: ignore[arg-type]
        found = engine.run(images(network, x)).reshape(expected.shape)
        if exact:
            np.testing.assert_array_equal(found, expected, err_msg=f"{isa}, {mode}, {threads} threads")
        else:
            np.testing.assert_allclose(found, expected, rtol=0, atol=0.05 * max(float(np.abs(expected).max()), 1e-2))
    return exact


@pytest.mark.parametrize("seed", range(60))
def test_the_engine_computes_the_integers_of_random_networks(seed: int) -> None:
    assert_exact(quantized(random_network(seed), seed), seed)


@pytest.mark.parametrize("seed", range(40))
def test_after_pruning_too(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(softmax=False)), seed, ("dense", "masked"))
    assert_exact(quantized(network, seed), seed)


def test_enough_of_these_networks_are_integers_throughout() -> None:
    pure = [not FLOAT_OPS & {op.op for op in lower(quantized(random_network(seed), seed))} for seed in range(60)]
    assert sum(pure) >= 20


# -- the oracle against torch ----------------------------------------------------------------------------------


def real(value: Value) -> Tensor:
    """What the bytes stand for, float64."""
    return torch.from_numpy(value.scale * (value.data - value.zero)) if value.is_bytes else torch.from_numpy(value.data)


def in_float(op: Op, inputs: list[Tensor]) -> Tensor:
    """The op on real numbers, by torch."""
    if op.op == "int8_add":
        y, code = inputs[0] + inputs[1], op.attributes[0]
    elif op.op == "int8_global_avg_pool":
        y, code = inputs[0].mean((2, 3), keepdim=True), 0
    else:
        weight, scale, bias = (None if w is None else w.values.double() for w in op.weights)
        assert weight is not None and scale is not None
        weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        if op.op == "int8_linear":
            y, code = F.linear(inputs[0], weight, bias), op.attributes[1]
        else:
            _, _, _, sh, sw, top, left, _, _, dh, dw, groups, code = op.attributes[:13]
            y = F.conv2d(inputs[0], weight, bias, (sh, sw), (top, left), (dh, dw), groups)
    return integer_graph.activated(y, code)


@pytest.mark.parametrize("seed", range(40))
def test_every_integer_op_is_its_layer_rounded_to_the_nearest_byte(seed: int) -> None:
    """At most one step off: half of one is the rounding of the result, the bias and the multipliers add a little."""
    network = quantized(random_network(seed), seed)
    ops = lower(network)
    values = integer_graph.run(ops, inputs(network, seed, 3))
    for op, made in zip(ops, values[1:], strict=True):
        if not op.op.startswith("int8"):
            continue
        exact = in_float(op, [real(values[number]).double() for number in op.inputs]).numpy()
        if made.is_bytes:
            exact = np.clip(exact, made.scale * -made.zero, made.scale * (255 - made.zero))
            assert np.abs(real(made).numpy() - exact).max() <= 0.75 * made.scale, op
        else:
            # A float result has no rounding but its bias's: half a step of the sums.
            _, scale, _ = op.weights
            assert scale is not None
            step = values[op.inputs[0]].scale * scale.values.double().numpy()
            limit = 0.501 * step.reshape(1, -1, *[1] * (exact.ndim - 2)) + 1e-6 * np.abs(exact).max()
            assert (np.abs(made.data - exact) <= limit).all(), op


def test_rescaling_by_hand() -> None:
    """Half of 5 around byte 10 is 12.5, which goes up, as 7.5 does; ReLU6 ends 6/0.5 = 12 bytes above zero."""
    sums = np.array([5, -5, 1000, -1000, 4])
    assert integer_graph.rescale(sums, 0.5, 0, 1.0, 10).tolist() == [13, 8, 255, 0, 12]
    assert integer_graph.rescale(sums, 0.5, integer_graph.RELU, 1.0, 10).tolist() == [13, 10, 255, 10, 12]
    assert integer_graph.rescale(sums, 0.5, integer_graph.RELU6, 0.5, 10).tolist() == [13, 10, 22, 10, 12]
