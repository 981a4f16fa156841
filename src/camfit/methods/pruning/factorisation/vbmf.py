"""Rank of a noisy matrix by empirical variational Bayesian matrix factorisation, with the noise estimated.

Nakajima, Sugiyama, Babacan, Tomioka, Global Analytic Solution of Fully-observed Variational Bayesian Matrix
Factorization, JMLR 14, 2013: the global solution is a threshold on the singular values, and the noise's variance is the
minimiser of the free energy over one variable, which is searched between the bounds that the paper proves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Places at which the free energy is taken before the best one is refined.
_GRID = 512


def vbmf_rank(energies: Tensor, rows: int, columns: int) -> int:
    """Components that stand out of the noise; 0 where nothing does.

    Args:
        energies: squared singular values, falling [min(rows, columns)].
        rows, columns: of the matrix.
    """
    small, large = sorted((rows, columns))
    if not float(energies.sum()) > 0:
        return 0
    # In units of the mean squared entry; noiseless tails stay above zero, where their logarithm is finite.
    values = energies.double() * (small * large / energies.double().sum())
    values = values.clamp_min(1e-14 * float(values[0])) / large
    threshold = edge(small / large)
    variance = _noise_variance(values, small / large, threshold)
    return int((values > variance * threshold).sum())


def edge(alpha: float) -> float:
    """x̄: a component is kept where its squared singular value exceeds large · σ² · x̄ (alpha = small / large).

    (1 + τ)(1 + α/τ) at the zero τ of Φ(τ) + Φ(τ/α), Φ(z) = log(1 + z)/z - 1/2, which falls in τ.
    """
    low, high = math.sqrt(alpha), 2.6
    for _ in range(100):
        middle = (low + high) / 2
        if _phi(middle) + _phi(middle / alpha) > 0:
            low = middle
        else:
            high = middle
    return (1 + low) * (1 + alpha / low)


def _phi(z: float) -> float:
    return math.log1p(z) / z - 0.5


def _noise_variance(values: Tensor, alpha: float, threshold: float) -> float:
    """σ² that minimises the free energy, for squared singular values divided by the larger side, of mean entry 1."""
    count = len(values)
    most = min(math.ceil(count / (1 + alpha)) - 1, count - 1)  # components that can stand out at most
    low = max(float(values[most]) / threshold, float(values[most:].mean()))
    high = float(values.mean())
    if low >= high:
        return high
    ends = math.log(low), math.log(high)
    for _ in range(3):
        grid = torch.linspace(*ends, _GRID, dtype=torch.float64)
        best = int(_free_energy(values / grid.exp()[:, None], alpha, threshold).argmin())
        ends = float(grid[max(0, best - 1)]), float(grid[min(_GRID - 1, best + 1)])
    return math.exp((ends[0] + ends[1]) / 2)


def _free_energy(x: Tensor, alpha: float, threshold: float) -> Tensor:
    """Free energy up to a constant [n] of x = γ²/(large · σ²) [n, components]."""
    above = x.clamp_min(threshold)
    reach = above - (1 + alpha)
    tau = (reach + (reach.square() - 4 * alpha).clamp_min(0).sqrt()) / 2
    gain = torch.log1p(tau) + alpha * torch.log1p(tau / alpha) - tau
    return (x - x.log() + torch.where(x > threshold, gain, 0.0)).sum(1)
