from __future__ import annotations

import pytest
import torch

from camfit.methods.pruning.factorisation.spatial import Spatial
from methods.factors import GEOMETRIES, PLAIN, composed, conv, through


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_at_full_rank_the_layer_is_reproduced(geometry: tuple[tuple[int, int], ...]) -> None:
    layer = conv(geometry)
    spatial = Spatial(layer)
    factors, energy = spatial.factors(spatial.largest)
    x = torch.randn(2, 5, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(through(factors, x), layer(x).detach(), rtol=1e-10, atol=1e-10)
    assert energy == pytest.approx(1)
    assert [name for name, _ in factors] == ["vertical", "horizontal"]


def test_separable_kernels_are_found() -> None:
    """Kernels that are sums of two products, column times row, shared by all channels (Jaderberg's scheme 2)."""
    layer = conv(PLAIN)
    columns = torch.randn(2, 5, 3, dtype=torch.float64)
    rows = torch.randn(2, 6, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("riy,rox->oiyx", columns, rows))
    spatial = Spatial(layer)
    assert spatial.energy((1,)) < 0.99
    factors, energy = spatial.factors((2,))
    assert energy == pytest.approx(1)
    torch.testing.assert_close(composed(factors, 5, (3, 3)), layer.weight.detach())
    assert factors[0][1].weight.shape == (2, 5, 3, 1) and factors[1][1].weight.shape == (6, 2, 1, 3)


def test_the_error_is_the_optimum_of_the_unfolded_weight() -> None:
    layer = conv(PLAIN)
    weight = layer.weight.detach()
    sigma = torch.linalg.svdvals(weight.permute(1, 2, 0, 3).reshape(15, 18))
    for rank in (1, 4, 9, 14):
        factors, energy = Spatial(layer).factors((rank,))
        error = float((composed(factors, 5, (3, 3)) - weight).square().sum())
        assert error == pytest.approx(float(sigma[rank:].square().sum()))
        assert energy == pytest.approx(1 - error / float(weight.square().sum()))
