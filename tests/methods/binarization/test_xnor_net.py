from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camfit import data as datasets
from camfit.engine import Engine
from camfit.errors import RecipeError
from camfit.evaluate import Samples, evaluate
from camfit.forms import Sign, attach, form_of, stored_of
from camfit.layers import BinaryConv2d, BinaryLinear
from camfit.methods.binarization.xnor_net import XnorNet, binary_layers
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import digits_cnn, mobilenet_v1
from methods.chain import CALIBRATION, chain


def binarized(network: Network, options: XnorNet | None = None) -> Network:
    return apply(network, (options or XnorNet()).plan(network, CALIBRATION))


def order(network: Network) -> list[str]:
    """Kinds of layers in execution order: bn, sign-conv (a binary convolution takes signs itself), conv, pool, ..."""
    names = {
        BinaryConv2d: "sign-conv", BinaryLinear: "sign-fc", nn.Conv2d: "conv", nn.Linear: "fc", nn.MaxPool2d: "pool",
        nn.BatchNorm2d: "bn", nn.BatchNorm1d: "bn", nn.ReLU: "relu", nn.Flatten: "flatten", nn.Dropout: "dropout",
    }  # fmt: skip
    return [next(names[t] for t in names if isinstance(layer, t)) for _, layer in network.layers()]


def blocks(count: int) -> Network:
    """``count`` blocks of conv, bn, relu, pool, then a fully connected layer."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {}
    for block in range(1, count + 1):
        layers[f"conv{block}"] = nn.Conv2d(2 if block == 1 else 4, 4, 3, padding=1)
        layers[f"bn{block}"] = nn.BatchNorm2d(4)
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    size = 16 >> count
    return chain((2, 16, 16), **layers, flatten=nn.Flatten(), fc=nn.Linear(4 * size * size, 3))


def ones(layer: nn.Module) -> nn.Module:
    """The binary layer with W = 1 everywhere and no bias: only signs of the input and K are left."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    attach(layer, Sign(), torch.ones_like(weight))
    return layer


# -- the layers ------------------------------------------------------------------------------------------------


def test_k_is_the_box_filtered_channel_mean_of_the_input() -> None:
    """|I| averaged over the channels is 1..9; K under a 3x3 box with padding 1. sign(I)⊛1 counts the real pixels."""
    mean = torch.arange(1.0, 10.0).reshape(3, 3)
    image = torch.stack([2 * mean, torch.zeros(3, 3)])[None]
    k = torch.tensor([[1.0 + 2 + 4 + 5, 21, 2 + 3 + 5 + 6], [27, 45, 33], [4 + 5 + 7 + 8, 39, 5 + 6 + 8 + 9]]) / 9
    real = torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]])
    layer = ones(BinaryConv2d(2, 1, (3, 3), padding=(1, 1), bias=False))
    torch.testing.assert_close(layer(image)[0, 0].detach(), 2 * real * k)


def test_signs_of_the_input_meet_signs_of_the_weight() -> None:
    """I = (−3, 0, 5), W = (0.5, −2, −0): sign(0) = +1 on both sides, so −1·1 + 1·−1 + 1·1 = −1; α = 5/6, K = 8/3."""
    layer = BinaryLinear(3, 1, bias=False)
    attach(layer, Sign(), torch.tensor([[0.5, -2.0, 0.0]]))
    x = torch.tensor([[-3.0, 0.0, 5.0]])
    assert float(layer(x).detach()) == pytest.approx(-5 / 6 * 8 / 3)
    layer.scale_input = False
    assert float(layer(x).detach()) == pytest.approx(-5 / 6)


def test_a_convolution_over_the_whole_image_is_the_linear_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, image = torch.randn(3, 2, 4, 5, generator=generator), torch.randn(6, 2, 4, 5, generator=generator)
    for scale_input in (True, False):
        conv = BinaryConv2d(2, 3, (4, 5), scale_input=scale_input)
        linear = BinaryLinear(40, 3, scale_input=scale_input)
        attach(conv, Sign(), weight)
        attach(linear, Sign(), weight.reshape(3, 40))
        with torch.no_grad():
            conv.bias.copy_(linear.bias)  # type: ignore[union-attr]
        torch.testing.assert_close(conv(image).flatten(1), linear(image.flatten(1)))


def test_the_inputs_gradient_passes_straight_through_inside_one() -> None:
    x = torch.tensor([[-3.0, -1.0, 0.0, 0.5, 1.0, 1.5]], requires_grad=True)
    ones(BinaryLinear(6, 1, bias=False, scale_input=False))(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0, 1, 1, 1, 1, 0]]


def test_a_filter_that_cancels_gives_exactly_zero() -> None:
    """α = 0.1 is no binary fraction: added as ±α, three filters' sums would be off zero, and zero's sign is +1."""
    layer = BinaryLinear(6, 1, bias=False, scale_input=False)
    attach(layer, Sign(), torch.tensor([[0.1, -0.1, 0.1, 0.1, -0.1, -0.1]]))
    assert float(layer(torch.full((1, 6), 0.3)).detach()) == 0


# -- the plan --------------------------------------------------------------------------------------------------


def test_blocks_become_bn_sign_conv_pool() -> None:
    network = blocks(3)
    assert order(network) == ["conv", "bn", "relu", "pool"] * 3 + ["flatten", "fc"]
    assert order(binarized(network)) == [
        "conv", "bn", "relu", "pool",  # the first layer stays real
        "bn", "sign-conv", "pool",  # between two binarized layers bn and relu give way
        "bn", "sign-conv", "bn", "relu", "pool",  # in front of a real layer they stay
        "flatten", "fc",
    ]  # fmt: skip


def test_a_batch_norm_that_is_in_front_already_is_not_doubled() -> None:
    network = chain(
        (2, 8, 8),
        conv1=nn.Conv2d(2, 4, 3),
        bn1=nn.BatchNorm2d(4),
        conv2=nn.Conv2d(4, 4, 3),
        flatten=nn.Flatten(),
        fc=nn.Linear(64, 3),
    )
    assert order(binarized(network)) == ["conv", "bn", "sign-conv", "flatten", "fc"]


def test_first_and_last_layer_stay_real_unless_told_otherwise() -> None:
    assert binary_layers(binarized(blocks(3))) == ("conv2", "conv3")
    assert binary_layers(binarized(blocks(3), XnorNet(keep=("conv2",)))) == ("conv1", "conv3", "fc")


def test_grouped_convolutions_stay_real() -> None:
    network = trace(mobilenet_v1.build((2, 12, 12), 4, width=0.1), (2, 12, 12))
    grouped = [path for path, layer in network.weighted().items() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    binary = binary_layers(binarized(network))
    assert grouped and binary and not set(grouped) & set(binary)


def test_it_starts_from_the_trained_weights_clipped() -> None:
    network = blocks(3)
    with torch.no_grad():
        network.layer("conv2").weight.mul_(20)  # type: ignore[operator, union-attr]
    result = binarized(network)
    layer = result.layer("conv2")
    assert torch.equal(stored_of(layer), network.layer("conv2").weight.clamp(-1, 1))  # type: ignore[operator, union-attr]
    assert torch.equal(layer.bias, network.layer("conv2").bias)  # type: ignore[arg-type]


def test_latent_weights_stay_inside_one_while_they_train() -> None:
    network = binarized(blocks(2), XnorNet(keep=("fc",)))
    generator = torch.Generator().manual_seed(1)
    samples = Samples(torch.randn(32, 2, 16, 16, generator=generator), torch.arange(32) % 3)
    before = {path: stored_of(network.layer(path)).detach().clone() for path in binary_layers(network)}
    train(network, samples, samples, classification(), Train(3, 3.0, batch_size=8, schedule="constant", clip=1.0))
    for path, start in before.items():
        stored = stored_of(network.layer(path)).detach()
        assert bool((stored != start).any())
        assert float(stored.abs().max()) == 1, "with such a rate some weights reach the border, and none passes it"
        form = form_of(network.layer(path))
        assert isinstance(form, Sign)


@pytest.mark.parametrize("options", [XnorNet(), XnorNet(keep=("fc",), scale_input=False)])
def test_the_engine_gives_torchs_result(options: XnorNet) -> None:
    network = binarized(blocks(3), options)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 2), dtype=np.uint8)
    packed = pack(network, datasets.Normalisation((0.015,) * 2, (-1.9,) * 2))
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2)).float() * 0.015 - 1.9).numpy()
    for isa, mode in itertools.product(("auto", "plain"), ("speed", "memory")):
        found = Engine(packed.data, isa=isa, mode=mode).run(images)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_a_binary_weight_costs_a_bit_in_the_file() -> None:
    network = binarized(
        chain((1, 4, 4), flatten=nn.Flatten(), a=nn.Linear(16, 64), b=nn.Linear(64, 64), c=nn.Linear(64, 2))
    )
    packed = pack(network, datasets.Normalisation((1.0,), (0.0,)))
    # Signs, α, and the bias; c's share does not count, b is the only binary layer.
    assert packed.layers["b"] == 64 * 64 // 8 + 4 * 64 + 4 * 64


def test_it_learns_digits() -> None:
    """Three of five layers binary, from scratch, in a few seconds: far above a tenth."""
    digits = datasets.load("digits")
    torch.manual_seed(0)
    network = binarized(trace(digits_cnn.build(digits.input_shape, 10, dropout=0.0), digits.input_shape))
    assert binary_layers(network) == ("conv2", "conv3", "fc1")
    training, validation = Samples.of(digits, digits.train), Samples.of(digits, digits.val)
    train(network, training, validation, classification(), Train(5, 0.002, batch_size=32, optimizer="adam"))
    assert evaluate(network, validation, classification()) > 0.8


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(RecipeError, match="xnor-net: no layer 'conv9'.*expected one of conv1, conv2, fc"):
        XnorNet(keep=("conv9",)).plan(blocks(2), CALIBRATION)
