"""Networks that nobody here wrote the rules for: traced, halved and packed, each computes what torch does."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.data import Normalisation, to_tensor
from camfit.engine import Engine
from camfit.graph import Graph
from camfit.network import Network
from camfit.pack import pack
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply, masked
from camfit.trace import trace
from small_zoo import LARGE, OF_PIXELS, SMALL

SHAPE, CLASSES = (3, 32, 32), 5


@functools.cache
def model(name: str) -> nn.Module:
    """The untrained architecture, with batch-norm statistics far from the identity."""
    torch.manual_seed(1)
    result = SMALL[name](LARGE.get(name, SHAPE), CLASSES)
    with torch.no_grad():
        for layer in result.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None and layer.running_var is not None
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(-0.5, 1.5)
                layer.bias.normal_(0, 0.3)
    return result.eval()


def network(name: str) -> Network:
    return trace(model(name), LARGE.get(name, SHAPE))


def halved(of: Network) -> Plan:
    """Keeps a random half of the channels of every group."""
    generator = torch.Generator().manual_seed(3)
    edits = []
    for group in Graph.of(of).groups:
        kept = torch.randperm(len(group), generator=generator)[: (len(group) + 1) // 2].sort().values
        edits.append(KeepChannels(group.name, tuple(kept.tolist())))
    return Plan("half", tuple(edits))


@pytest.mark.parametrize("name", zoo.names())
@torch.no_grad()
def test_traced_it_computes_the_same_under_the_same_names(name: str) -> None:
    traced = network(name)
    x = torch.randn(2, *traced.input_shape, generator=torch.Generator().manual_seed(0))
    tolerance = 1e-5 if name == "unet" else 0  # its transposed convolutions have become others
    torch.testing.assert_close(traced(x), model(name)(x), rtol=0, atol=tolerance)
    assert sorted(traced.state_dict()) == sorted(model(name).state_dict())


@pytest.mark.parametrize("name", zoo.names())
@torch.no_grad()
def test_half_of_its_channels_removed_is_half_masked(name: str) -> None:
    whole = network(name).double()
    plan = halved(whole)
    removed, blanked = apply(whole, plan), masked(whole, plan)
    x = torch.randn(2, *whole.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = blanked(x)
    torch.testing.assert_close(removed(x), expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
    assert not torch.allclose(expected, whole(x))


@pytest.mark.parametrize("name", zoo.names())
@torch.no_grad()
def test_halved_it_runs_in_the_engine_as_in_torch(name: str) -> None:
    whole = network(name)
    half = apply(whole, halved(whole))
    channels, height, width = whole.input_shape
    normalisation = Normalisation((0.02,) * channels, (-2.5,) * channels)
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    expected = half(to_tensor(images, normalisation)).numpy()
    if name in OF_PIXELS:
        expected = expected.transpose(0, 2, 3, 1)
    found = Engine(pack(half, normalisation).data).run(images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", zoo.names())
def test_channels_of_every_layer_but_the_last_can_be_cut(name: str) -> None:
    traced = network(name)
    graph = Graph.of(traced)
    *inner, last = traced.weighted()
    assert [path for path in inner if not graph.groups_of(path)] == [], graph.frozen_reasons
    assert graph.frozen_reasons[last] == "its channels reach the network's output"
