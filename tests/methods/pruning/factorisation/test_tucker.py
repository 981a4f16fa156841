from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.methods.pruning.factorisation.tucker import Tucker
from methods.factors import GEOMETRIES, PLAIN, composed, conv, through


def planted(noise: float = 0.0) -> nn.Conv2d:
    """Ranks 2 (in) and 3 (out) of 5 and 6."""
    layer = conv(PLAIN)
    generator = torch.Generator().manual_seed(4)
    core, into, out, rest = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((3, 2, 3, 3), (5, 2), (6, 3), (6, 5, 3, 3))
    )
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("qpyx,ip,oq->oiyx", core, into, out) + noise * rest)
    return layer


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_at_full_rank_the_layer_is_reproduced(geometry: tuple[tuple[int, int], ...]) -> None:
    layer = conv(geometry)
    tucker = Tucker(layer)
    factors, energy = tucker.factors(tucker.largest)
    x = torch.randn(2, 5, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-10, atol=1e-10)
    assert energy == pytest.approx(1)
    assert [name for name, _ in factors] == ["down", "core", "up"]


def test_more_inputs_than_the_rest_has_places() -> None:
    layer = conv(((1, 2), (1, 1), (0, 0), (1, 1)), inputs=9, outputs=2)
    tucker = Tucker(layer)
    assert tucker.largest == (4, 2)
    factors, _ = tucker.factors((4, 2))
    x = torch.randn(1, 9, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-10, atol=1e-10)


def test_planted_ranks_are_exact() -> None:
    layer = planted()
    factors, energy = Tucker(layer).factors((2, 3))
    assert energy == pytest.approx(1)
    torch.testing.assert_close(composed(factors, 5, (3, 3)), layer.weight.detach())
    assert Tucker(layer).factors((1, 3))[1] < 0.99 > Tucker(layer).factors((2, 2))[1]


def test_sweeps_improve_on_the_truncated_spectra_and_the_energy_is_a_bound() -> None:
    layer = conv(PLAIN)
    tucker = Tucker(layer)
    weight = layer.weight.detach()
    for ranks in ((1, 1), (2, 3), (4, 2), (3, 5)):
        factors, energy = tucker.factors(ranks)
        error = float((composed(factors, 5, (3, 3)) - weight).square().sum() / weight.square().sum())
        assert energy == pytest.approx(1 - error)
        into, out = (vectors[:, :rank] for (_, vectors), rank in zip(tucker.spectra, ranks, strict=True))
        truncated = torch.einsum("oiyx,ip,oq->qpyx", weight, into, out).square().sum() / weight.square().sum()
        assert energy >= float(truncated) - 1e-12
        assert float(truncated) >= tucker.energy(ranks) - 1e-12


def test_the_ladder_splits_the_loss_and_ends_at_full_rank() -> None:
    tucker = Tucker(planted(noise=0.05))
    assert tucker.ladder[-1] == (5, 6) and (2, 3) in tucker.ladder
    energies = [tucker.energy(ranks) for ranks in tucker.ladder]
    assert energies == sorted(energies) and energies[-1] == 1
    for (a, b), (c, d) in zip(tucker.ladder, tucker.ladder[1:], strict=False):
        assert a <= c and b <= d


def test_vbmf_finds_the_planted_ranks() -> None:
    """Wider than above: the noise of a few entries cannot be told from a signal."""
    generator = torch.Generator().manual_seed(1)
    core, into, out = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((6, 4, 3, 3), (24, 4), (32, 6))
    )
    layer = conv(PLAIN, 24, 32)
    signal = torch.einsum("qpyx,ip,oq->oiyx", core, into, out)
    with torch.no_grad():
        layer.weight.copy_(signal + 0.3 * torch.randn(signal.shape, generator=generator))
    assert Tucker(layer).vbmf() == (4, 6)
