from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.methods.pruning.factorisation.decomposition import Pixels, whole_costs
from camfit.methods.pruning.factorisation.svd import Svd
from methods.factors import conv, through


def linear(outputs: int, inputs: int) -> nn.Linear:
    torch.manual_seed(outputs)
    return nn.Linear(inputs, outputs, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_at_full_rank_the_layer_is_reproduced(shape: tuple[int, int]) -> None:
    layer = linear(*shape)
    factors, energy = Svd(layer).factors((min(shape),))
    x = torch.randn(9, shape[1], dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-10, atol=1e-10)
    assert energy == pytest.approx(1)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_what_is_lost_is_the_sum_of_the_dropped_squared_singular_values(shape: tuple[int, int]) -> None:
    layer = linear(*shape)
    weight = layer.weight.detach()
    sigma = torch.linalg.svdvals(weight)
    svd = Svd(layer)
    lost = []
    for rank in range(1, 6):
        ((_, down), (_, up)), energy = svd.factors((rank,))
        error = float((up.weight @ down.weight - weight).detach().square().sum())  # type: ignore[operator]
        assert error == pytest.approx(float(sigma[rank:].square().sum()), abs=1e-12)
        assert energy == svd.energy((rank,)) == pytest.approx(1 - error / float(weight.square().sum()))
        lost.append(error)
    assert lost == sorted(lost, reverse=True) and lost[-1] < 1e-20


def test_a_planted_rank_is_exact_and_its_components_are_shared_evenly() -> None:
    layer = nn.Linear(8, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(10, 3) @ torch.randn(3, 8))
    ((_, down), (_, up)), energy = Svd(layer).factors((3,))
    torch.testing.assert_close(up.weight @ down.weight, layer.weight)  # type: ignore[operator]
    torch.testing.assert_close(up.weight.norm(dim=0), down.weight.norm(dim=1))  # type: ignore[operator]
    assert energy == pytest.approx(1) and down.bias is None
    assert torch.equal(up.bias, layer.bias)  # type: ignore[arg-type]
    assert up.weight.dtype == torch.float32


def test_a_pointwise_convolution_keeps_its_stride_and_padding() -> None:
    layer = conv(((1, 1), (2, 3), (1, 0), (1, 1)))
    factors, _ = Svd(layer).factors((5,))
    x = torch.randn(2, 5, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-10, atol=1e-10)


def test_costs_are_those_of_two_layers() -> None:
    layer = linear(20, 30)
    pixels = Pixels(1, 1, 1)
    assert Svd(layer).costs((4,), pixels).weights == 4 * (20 + 30)
    assert Svd(layer).costs((11,), pixels).below(whole_costs(layer, pixels))
    assert not Svd(layer).costs((12,), pixels).below(whole_costs(layer, pixels))  # 600, as before


def test_a_weight_of_zeros_is_kept_whole_by_any_rank() -> None:
    layer = nn.Linear(3, 4)
    nn.init.zeros_(layer.weight)
    factors, energy = Svd(layer).factors((1,))
    assert energy == 1
    assert torch.equal(through(factors, torch.ones(2, 3)), layer(torch.ones(2, 3)))
