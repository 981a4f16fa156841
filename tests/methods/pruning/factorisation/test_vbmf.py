from __future__ import annotations

import math

import pytest
import torch

from camfit.methods.pruning.factorisation.vbmf import edge, vbmf_rank


def rank(matrix: torch.Tensor) -> int:
    return vbmf_rank(torch.linalg.svdvals(matrix).square(), *matrix.shape)


def noisy(rows: int, columns: int, planted: int, noise: float, seed: int = 0) -> torch.Tensor:
    """A product of standard normal factors plus normal noise."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, planted, generator=generator, dtype=torch.float64)
    right = torch.randn(planted, columns, generator=generator, dtype=torch.float64)
    return left @ right + noise * torch.randn(rows, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(60, 60), (40, 200), (200, 40)])
@pytest.mark.parametrize("planted", [1, 5, 15])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_planted_rank_is_found_whatever_the_noise(shape: tuple[int, int], planted: int, noise: float) -> None:
    for seed in range(3):
        assert rank(noisy(*shape, planted, noise, seed)) == planted


def test_the_matrixs_unit_does_not_matter() -> None:
    matrix = noisy(50, 80, 6, 0.5)
    assert rank(matrix * 1e-6) == rank(matrix) == rank(matrix * 1e6) == 6


def test_noise_alone_has_no_rank_and_no_noise_has_all_of_it() -> None:
    assert [rank(noisy(60, 90, 0, 1.0, seed)) for seed in range(5)] == [0] * 5
    assert rank(noisy(30, 50, 7, 0.0)) == 7
    assert rank(torch.zeros(4, 5)) == 0


def test_a_component_below_the_noises_edge_is_not_told_from_it() -> None:
    """The noise's own singular values reach σ(√rows + √columns); a component needs more than that."""
    matrix = noisy(80, 80, 0, 1.0, seed=5)
    direction = torch.ones(80, 80, dtype=torch.float64) / 80
    assert rank(matrix + 0.3 * 2 * math.sqrt(80) * direction) == 0
    assert rank(matrix + 2.0 * 2 * math.sqrt(80) * direction) == 1


def test_the_edge_is_the_papers() -> None:
    """τ = 2.5129 for square matrices; x̄ lies above the end (1 + √α)² of the noise's spectrum."""
    assert edge(1.0) == pytest.approx((1 + 2.5129) * (1 + 1 / 2.5129), rel=1e-4)
    for alpha in (0.01, 0.1, 0.5, 1.0):
        assert edge(alpha) > (1 + math.sqrt(alpha)) ** 2
