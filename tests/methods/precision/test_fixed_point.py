from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.errors import RecipeError
from camfit.forms import Integer, form_of
from camfit.layers import Quantize, pair
from camfit.method import Calibration
from camfit.methods.precision.calibration import power_of_two, steps
from camfit.methods.precision.fixed_point import FixedPoint
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.lower import lower
from camfit.surgery import apply
from engine.run import ISAS
from methods.chain import chain
from networks import inputs, random_network


def fixed(network: Network, x: Tensor, **options: object) -> Network:
    plan = FixedPoint(**options).plan(network, Calibration(x, torch.zeros(len(x), dtype=torch.int64)))  # type: ignore[arg-type]
    return apply(network, plan).eval()


def is_power_of_two(value: float) -> bool:
    return math.frexp(value)[0] == 0.5


def test_the_next_power_of_two() -> None:
    assert [power_of_two(value) for value in (1.0, 1.01, 0.3, 0.5, 3.0)] == [1.0, 2.0, 0.5, 0.5, 4.0]


def test_steps_by_hand() -> None:
    # 1/255 -> 1/128; 1.27/127 = 0.01 -> 1/64, and the zero point of a signed value
    assert steps(0, 1, "symmetric", powers_of_two=True).scale == 1 / 128
    signed = steps(-1.27, 0.4, "symmetric", powers_of_two=True)
    assert (signed.scale, signed.zero) == (1 / 64, 128)


def test_a_layer_by_hand() -> None:
    """1.27/127 = 0.01 -> 2^-6; 0.5 · 64 = 32, 0.3 · 64 = 19.2 -> 19; 2/127 -> 2^-6 too, and the bias has steps of 2^-12."""
    one = nn.Linear(2, 2)
    with torch.no_grad():
        one.weight.copy_(torch.tensor([[1.27, 0.5], [0.3, -1.27]]))
        one.bias.copy_(torch.tensor([0.1, 0.0]))
    network = chain((2,), one=one)
    result = fixed(network, torch.tensor([[2.0, -1.0]]), calibration="min-max", bias_correction=False)
    form = form_of(result.layer("one"))
    assert isinstance(form, Integer)
    assert form.scale.tolist() == [1 / 64, 1 / 64]
    assert (64 * result.layer("one").weight).tolist() == [[81.0, 32.0], [19.0, -81.0]]  # type: ignore[operator]
    bias = result.layer("one").bias
    assert isinstance(bias, Tensor)
    assert float(bias.detach()[0]) == math.floor(0.1 * 4096 + 0.5) / 4096


def exact_in_torch(network: Network) -> bool:
    """No mean over other than 2^k pixels, and no layer that stays float."""
    for op in lower(network):
        if op.op in ("conv2d", "linear", "affine", "softmax", "add", "global_avg_pool", "avg_pool"):
            return False
    shapes = network.shapes()
    for node in network.nodes:
        layer = network.layer(node.layer)
        pixels = 1
        if isinstance(layer, nn.AvgPool2d):
            pixels = math.prod(pair(layer.kernel_size))
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            pixels = math.prod(shapes[node.inputs[0]][1:])
        if pixels & (pixels - 1):
            return False
    return True


def test_torch_and_the_engine_give_the_same_bits() -> None:
    """The paper's property: what was simulated in training is what runs, on every set of instructions."""
    compared = 0
    for seed in range(60):
        network = random_network(seed).eval()
        x = inputs(network, seed, 4)
        result = fixed(network, x)
        if not exact_in_torch(result):
            continue
        for path, layer in result.layers():
            form = form_of(layer) if isinstance(layer, nn.Conv2d | nn.Linear) else None
            if isinstance(layer, Quantize):
                assert is_power_of_two(float(layer.scale)) and int(layer.zero_point) in (0, 128), path
            if isinstance(form, Integer):
                assert all(is_power_of_two(scale) for scale in form.scale.tolist()), path
        channels = network.input_shape[0]
        data = pack(result, Normalisation((1.0,) * channels, (0.0,) * channels)).data
        with torch.no_grad():
            expected = result(x).double()
        images = x if x.dim() == 4 else x[:, :, None, None]
        given = images.permute(0, 2, 3, 1).contiguous().numpy()
        expected = expected.permute(0, 2, 3, 1) if expected.dim() == 4 else expected
        for isa in ISAS:
            found = Engine(data, isa=isa).run(given).reshape(expected.shape)  # type: ignore[arg-type]
            np.testing.assert_array_equal(found, expected.numpy(), err_msg=f"seed {seed}, {isa}")
        compared += 1
    assert compared >= 15


def test_wrong_options_are_named() -> None:
    with pytest.raises(RecipeError, match="weight_bits is 9, expected 2 to 8"):
        FixedPoint(weight_bits=9)
