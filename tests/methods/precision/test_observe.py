from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.methods.precision.observe import observe, walk
from camfit.network import INPUT
from methods.chain import chain
from networks import inputs, random_network


@pytest.mark.parametrize("seed", range(10))
def test_walking_is_running_and_lets_no_value_live_too_short(seed: int) -> None:
    network = random_network(seed)
    x = inputs(network, seed)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        walk(network, x, lambda name, value: found.update({name: value}))
        expected = network.values(x)
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_all_images_are_counted_and_only_some_are_in_the_means() -> None:
    network = chain((2,), relu=nn.ReLU())
    x = torch.linspace(-1, 2, 800).reshape(400, 2)
    found = observe(network, x, {INPUT, "relu"}, {"relu"})
    seen, relu = found.histograms[INPUT], found.histograms["relu"]
    assert (seen.low, seen.high, relu.low, relu.high) == (-1, 2, 0, 2)
    assert relu.zeros == int((x <= 0).sum()) and seen.counts.sum() + seen.zeros == 800
    assert len(found.images) < 400 and torch.equal(found.images, x[: len(found.images)])
    torch.testing.assert_close(found.means, {"relu": found.images.relu().mean(0)})


def test_the_means_are_of_channels_and_batches_count_by_their_images() -> None:
    """A value of 2²² numbers goes through in batches of two images; of three images the last is a batch of its own."""
    network = chain((2, 1448, 1448), relu=nn.ReLU())
    x = torch.rand(3, 2, 1448, 1448, generator=torch.Generator().manual_seed(0))
    found = observe(network, x, {}, {"relu"})
    assert len(found.images) == 3
    torch.testing.assert_close(found.means["relu"], x.mean((0, 2, 3)))


def test_channels_have_their_ends_over_all_batches_and_places_of_each() -> None:
    x = torch.linspace(-1, 2, 800).reshape(400, 2)
    seen = observe(chain((2,), relu=nn.ReLU()), x, channels={INPUT, "relu"}).channels
    assert (seen[INPUT].low.tolist(), seen[INPUT].high.tolist()) == (x.amin(0).tolist(), x.amax(0).tolist())
    assert seen["relu"].low.tolist() == [0, 0] and torch.equal(seen["relu"].sample, x.relu())
    torch.testing.assert_close(seen[INPUT].variance, x.double().var(0, unbiased=False))
    torch.testing.assert_close(seen["relu"].active, (x > 0).double().mean(0))
