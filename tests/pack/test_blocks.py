"""Depth to space behind a convolution costs a copy of whole pixels, and nothing between the two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.forms import Codebook, Hashed, Masked, Sign, attach, form_of
from camfit.layers import Quantize
from camfit.network import INPUT, DepthToSpace, Network, Node
from camfit.pack.blocks import blocks_first
from camfit.pack.lower import lower
from methods.chain import chain
from networks import inputs, random_network, with_forms


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            assert values is not None
            values.copy_(torch.rand(channels, generator=generator) + 0.5)
    return layer


def upsampling(**conv: int) -> Network:
    return chain(
        (4, 3, 3),
        conv=nn.Conv2d(4, 8, 1, **conv),  # type: ignore[arg-type]
        pixels=DepthToSpace((2, 2), (0, 1, 0, 0)),
        norm=norm(2),
        relu=nn.ReLU(),
        head=nn.Conv2d(2, 3, 1),
    )


@torch.no_grad()
def assert_same(network: Network) -> Network:
    """The network with blocks first, which computes the same."""
    changed = blocks_first(network)
    x = inputs(network, 0)
    torch.testing.assert_close(changed(x), network(x), rtol=1e-5, atol=1e-6)
    return changed


def test_filters_are_put_in_the_engines_order_and_what_follows_is_folded() -> None:
    network = upsampling()
    assert_same(network)
    ops = lower(network)
    assert [op.op for op in ops] == ["conv2d", "depth_to_space", "conv2d"]
    assert ops[0].attributes[-1] == 1
    assert ops[1].attributes == [2, 2, 0, 1, 0, 0]
    layer, scale = network.layer("conv"), network.layer("norm")
    assert isinstance(layer, nn.Conv2d) and isinstance(scale, nn.BatchNorm2d) and ops[0].weights[0] is not None
    factor = (scale.weight / (scale.running_var + scale.eps).sqrt()).detach()  # type: ignore[operator]
    # Output 1·4 + 2 (channel 1, place 2) of the layer stands at place 2·2 + 1 of the op.
    torch.testing.assert_close(ops[0].weights[0].values[5], layer.weight.detach()[6] * factor[1])


@pytest.mark.parametrize(
    "form", [Masked(torch.rand(8, 4, 1, 1) < 0.5), Codebook(torch.arange(32).reshape(8, 4, 1, 1) % 3, 3), Sign()]
)
def test_filters_in_any_form_that_can_be_reordered(form: nn.Module) -> None:
    network = upsampling()
    layer = network.layer("conv")
    assert isinstance(layer, nn.Conv2d)
    attach(layer, form, torch.randn(3) if isinstance(form, Codebook) else layer.weight.detach())  # type: ignore[arg-type]
    changed = assert_same(network)
    assert type(form_of(changed.layer("conv"))) is type(form)
    assert "channel_shuffle" not in [op.op for op in lower(network)]


def test_what_cannot_be_reordered_is_shuffled() -> None:
    hashed = upsampling()
    attach(hashed.layer("conv"), Hashed((8, 4, 1, 1), 5, seed=1), torch.randn(5))
    image = chain((8, 3, 3), pixels=DepthToSpace((2, 2)), conv=nn.Conv2d(2, 1, 1))
    for network in (hashed, upsampling(groups=2), image):
        assert assert_same(network) is network
        ops = lower(network)
        place = next(number for number, op in enumerate(ops) if op.op == "depth_to_space")
        assert (ops[place - 1].op, ops[place - 1].attributes) == ("channel_shuffle", [2])
    single = chain((4, 3, 3), pixels=DepthToSpace((2, 2)))
    assert [op.op for op in lower(single)] == ["depth_to_space"]


def test_bytes_are_made_before_they_are_moved() -> None:
    network = chain(
        (4, 3, 3), conv=nn.Conv2d(4, 8, 1), pixels=DepthToSpace((2, 2)), relu=nn.ReLU(), bytes=Quantize(0.25, 3),
        head=nn.Conv2d(2, 3, 1),
    )  # fmt: skip
    assert_same(network)
    assert [op.op for op in lower(network)] == ["conv2d", "quantize", "depth_to_space", "dequantize", "conv2d"]


def test_a_value_read_twice_keeps_its_meaning() -> None:
    network = upsampling()
    nodes = (*network.nodes[:-1], Node("head", "head", ("pixels",)), Node("head@2", "head", ("relu",)))
    assert_same(Network(nodes, dict(network.layers()), network.input_shape).eval())
    first = network.nodes[0]
    shared = (first, Node("again", "conv", (INPUT,)), *network.nodes[1:])
    assert blocks_first(Network(shared, dict(network.layers()), network.input_shape)).nodes == shared


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_compute_the_same(seed: int) -> None:
    assert_same(with_forms(random_network(seed), seed))
