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
from camfit.layers import Quantize, QuantizeMean
from camfit.method import Calibration
from camfit.methods.precision.calibration import power_of_two, steps
from camfit.methods.precision.fixed_point import FixedPoint
from camfit.network import INPUT, Network, Node
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


def is_integer(network: Network) -> bool:
    """No layer stays float."""
    floats = ("conv2d", "linear", "affine", "softmax", "add", "global_avg_pool")
    return not any(op.op in floats for op in lower(network))


def test_torch_and_the_engine_give_the_same_bits() -> None:
    """The paper's property: what was simulated in training is what runs, on every set of instructions."""
    compared = 0
    for seed in range(60):
        network = random_network(seed).eval()
        x = inputs(network, seed, 4)
        result = fixed(network, x)
        if not is_integer(result):
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


def test_an_average_of_other_than_2_to_the_k_pixels_by_hand() -> None:
    """Of six pixels: means of 10/3, 11/3 and 3.5 bytes' worth become whole bytes, in torch as in the engine."""
    one, two = nn.Conv2d(1, 1, (1, 1), bias=False), nn.Conv2d(1, 1, (1, 1), bias=False)
    nn.init.constant_(one.weight, 1.0)
    nn.init.constant_(two.weight, 1.0)
    network = chain((1, 2, 9), one=one, pool=nn.AvgPool2d((2, 3)), two=two)
    x = torch.zeros(1, 1, 2, 9)
    x[0, 0, 0] = torch.tensor([10.0, 10.0, 0.0, 11.0, 11.0, 0.0, 10.0, 11.0, 0.0])
    result = fixed(network, x, calibration="min-max", bias_correction=False)
    scale = 1 / 16  # of 11/255, the next power of two
    with torch.no_grad():
        values = result.values(x)
    sums = torch.tensor([20, 22, 21]) / scale
    assert (sums / 6).tolist() == pytest.approx([53.33, 58.67, 56.0], abs=0.01)
    assert (values["pool_bytes"].flatten() / scale).tolist() == [53, 59, 56]
    found = values[result.nodes[-1].name].flatten()
    data = pack(result, Normalisation((1.0,), (0.0,))).data
    np.testing.assert_array_equal(Engine(data).run(x[0].permute(1, 2, 0).numpy()).ravel(), found.numpy())


def test_a_global_mean_turns_halves_as_the_engine_does() -> None:
    """Sums of 9, 15 and -9 over 6: 1/6 in 31 bits is below 1/6 or above, and the halves of torch's mean are neither."""
    for total in (9, 15, 21, -9, -15):
        layer = QuantizeMean(1.0, 128, 6, 1.0)
        fraction, exponent = math.frexp(1 / 6)
        multiplier, shift = math.floor(fraction * 2.0**31 + 0.5), 31 - exponent
        expected = (total * multiplier + (1 << (shift - 1))) >> shift
        assert layer(torch.tensor([total / 6])).item() == expected


def test_the_bias_of_a_layer_called_twice_is_whole_steps_of_both_inputs() -> None:
    """The second call reads values up to 100 in steps of 1/2, the first up to 1 in steps of 1/128."""
    shared = nn.Linear(1, 1)
    with torch.no_grad():
        shared.weight.fill_(100.0)
        shared.bias.fill_(0.3)
    last = nn.Linear(1, 1)
    nodes = (Node("a", "shared", (INPUT,)), Node("b", "shared", ("a",)), Node("c", "last", ("b",)))
    x = torch.tensor([[1.0], [0.25], [0.0]])
    result = fixed(Network(nodes, {"shared": shared, "last": last}, (1,)), x, bias_correction=False)
    form, bias = form_of(result.layer("shared")), result.layer("shared").bias
    steps_of = [float(layer.scale) for _, layer in result.layers() if isinstance(layer, Quantize)][:2]
    assert isinstance(form, Integer) and isinstance(bias, Tensor) and steps_of[0] != steps_of[1]
    for step in steps_of:
        assert float(bias.detach()) % (step * float(form.scale)) == 0
    data = pack(result, Normalisation((1.0,), (0.0,))).data
    with torch.no_grad():
        expected = result(x).numpy()
    np.testing.assert_array_equal(Engine(data).run(x.reshape(3, 1, 1, 1).numpy()).reshape(3, 1), expected)


def test_wrong_options_are_named() -> None:
    with pytest.raises(RecipeError, match="weight_bits is 9, expected 2 to 8"):
        FixedPoint(weight_bits=9)
