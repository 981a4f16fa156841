from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.methods.pruning.factorisation.cp import Cp, alternate
from methods.factors import GEOMETRIES, PLAIN, composed, conv, through


def planted(rank: int, inputs: int = 8, outputs: int = 10) -> nn.Conv2d:
    """A convolution that is a sum of ``rank`` products of four vectors."""
    layer = conv(PLAIN, inputs, outputs)
    generator = torch.Generator().manual_seed(rank)
    parts = [torch.randn(n, rank, generator=generator, dtype=torch.float64) for n in (outputs, inputs, 3, 3)]
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("or,ir,yr,xr->oiyx", *parts))
    return layer


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_at_full_rank_the_layer_is_reproduced(geometry: tuple[tuple[int, int], ...]) -> None:
    layer = conv(geometry)
    cp = Cp(layer)
    factors, energy = cp.factors(cp.largest)
    x = torch.randn(2, 5, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-4, atol=1e-4)
    assert energy > 1 - 1e-8
    assert [name for name, _ in factors] == ["down", "vertical", "horizontal", "up"]
    assert factors[1][1].groups == factors[2][1].groups == cp.largest[0]


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_a_planted_rank_is_found(rank: int) -> None:
    layer = planted(rank)
    factors, energy = Cp(layer).factors((rank,))
    assert energy > 1 - 1e-6
    torch.testing.assert_close(composed(factors, 8, (3, 3)), layer.weight.detach(), rtol=0, atol=5e-3)


def test_the_energy_is_that_of_the_factors_and_rises_with_the_rank() -> None:
    layer = conv(PLAIN, 6, 8)
    weight = layer.weight.detach()
    kept = []
    for rank in (2, 6, 12, 24):
        factors, energy = Cp(layer).factors((rank,))
        error = float((composed(factors, 6, (3, 3)) - weight).square().sum() / weight.square().sum())
        assert energy == pytest.approx(1 - error)
        kept.append(energy)
    assert kept == sorted(kept) and kept[-1] - kept[0] > 0.3


def test_parts_are_equally_long_and_stay_short_where_a_closer_fit_would_let_them_grow() -> None:
    """a⊗a⊗b + a⊗b⊗a + b⊗a⊗a has rank 3, but products of rank 2 come as near as one likes, with ever longer parts."""
    a, b = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    tensor = sum(torch.einsum("o,i,y->oiy", *parts) for parts in ((a, a, b), (a, b, a), (b, a, a)))
    factors, energy = alternate(tensor[..., None], 2, seed=0)  # type: ignore[index]
    lengths = torch.stack([factor.norm(dim=0) for factor in factors])
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths))
    assert energy > 0.95 and float(lengths.max()) < 5


def test_the_seed_alone_decides() -> None:
    layer = conv(PLAIN)
    torch.manual_seed(1)
    first, _ = Cp(layer, seed=3).factors((9,))
    torch.manual_seed(2)
    second, _ = Cp(layer, seed=3).factors((9,))
    assert all(torch.equal(a.weight, b.weight) for (_, a), (_, b) in zip(first, second, strict=True))


def test_the_ladder_ends_where_factors_have_the_layers_weights() -> None:
    cp = Cp(conv(PLAIN, 32, 64))
    most = 32 * 64 * 9 // (32 + 64 + 3 + 3)
    assert cp.ladder[-1] == (most,) and len(cp.ladder) == 8
    assert cp.ladder[3] == (most // 2,)
