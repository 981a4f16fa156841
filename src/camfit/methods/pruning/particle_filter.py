"""A particle filter over patterns of pruned units: sampling importance resampling, weighted by misclassification.

Anwar, Hwang, Sung 2015 search masks so. A *particle* says of every unit (a feature map, a kernel, a source map) whether
it is pruned, and in which of its ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Space:
    """The patterns of one layer or channel group.

    Attributes:
        units: how many there are.
        pruned: how many of them are pruned in every pattern, at most ``units``.
        ways: in how many ways a unit may be pruned.
    """

    units: int
    pruned: int
    ways: int = 1


Particle = dict[str, Tensor]
"""By space, one integer a unit: 0 leaves it whole, 1 to ``ways`` prune it so."""


@dataclass(frozen=True)
class Found:
    """The best particle that was seen, its rate, and the mean rate of the particles drawn first."""

    particle: Particle
    rate: float
    mean_at_first: float


def drawn(spaces: Mapping[str, Space], generator: torch.Generator) -> Particle:
    """A particle, all patterns equally likely."""
    particle: Particle = {}
    for name, space in spaces.items():
        pattern = torch.zeros(space.units, dtype=torch.int64)
        chosen = torch.randperm(space.units, generator=generator)[: space.pruned]
        pattern[chosen] = torch.randint(1, space.ways + 1, (space.pruned,), generator=generator)
        particle[name] = pattern
    return particle


def weights(rates: Tensor, power: float = 1.0) -> Tensor:
    """Importance of particles of these misclassification rates [N]: (1 − rate)^power, with sum 1.

    Particles that get nothing right weigh alike.
    """
    right = (1 - rates.double()).clamp(min=0) ** power
    total = right.sum()
    return right / total if float(total) > 0 else torch.full_like(right, 1 / len(right))


def resampled(importance: Tensor, generator: torch.Generator) -> Tensor:
    """Indices [N] of the particles that go on, drawn systematically (Kitagawa 1996).

    One random number places N equally spaced pointers over the cumulated weights, so particle i goes on ⌊N·w_i⌋ or
    ⌈N·w_i⌉ times, N·w_i in the mean.
    """
    count = len(importance)
    start = torch.rand((), dtype=torch.float64, generator=generator)
    pointers = (torch.arange(count, dtype=torch.float64) + start) / count
    return torch.searchsorted(importance.double().cumsum(0), pointers, right=True).clamp(max=count - 1)


def moved(particle: Particle, spaces: Mapping[str, Space], share: float, generator: torch.Generator) -> Particle:
    """The state transition: ``share`` of the pruned units, one at least, change places with whole ones.

    As many of those that stay pruned get another way, drawn at random, where there is more than one. The number of
    pruned units stays.
    """
    result: Particle = {}
    for name, pattern in particle.items():
        space, pattern = spaces[name], pattern.clone()
        count = min(max(1, round(share * space.pruned)), space.pruned)
        gone, whole = (pattern > 0).nonzero()[:, 0], (pattern == 0).nonzero()[:, 0]
        order = gone[torch.randperm(len(gone), generator=generator)]
        swaps = min(count, len(whole))
        into = whole[torch.randperm(len(whole), generator=generator)[:swaps]]
        pattern[into], pattern[order[:swaps]] = pattern[order[:swaps]], 0
        again = order[swaps : swaps + count]
        if space.ways > 1:
            pattern[again] = torch.randint(1, space.ways + 1, (len(again),), generator=generator)
        result[name] = pattern
    return result


def search(
    spaces: Mapping[str, Space],
    misclassification: Callable[[Particle], float],
    *,
    particles: int,
    rounds: int,
    share: float,
    power: float,
    generator: torch.Generator,
) -> Found:
    """Draws ``particles``, then weighs, resamples and moves them ``rounds`` times; the best one seen is the result.

    In each round the best particle so far takes the place of one of the moved ones, so that it is never lost.

    Args:
        misclassification: rate in [0, 1] of a particle; called particles·(rounds + 1) times at most.
        particles, rounds: 1 or more, and 0 or more.
        share, power: see :func:`moved` and :func:`weights`.
    """
    cloud = [drawn(spaces, generator) for _ in range(particles)]
    rates = torch.tensor([misclassification(particle) for particle in cloud], dtype=torch.float64)
    mean_at_first = float(rates.mean())
    best, rate = cloud[int(rates.argmin())], float(rates.min())
    for _ in range(rounds):
        chosen = resampled(weights(rates, power), generator)
        cloud = [best, *(moved(cloud[int(index)], spaces, share, generator) for index in chosen[1:])]
        others = [misclassification(particle) for particle in cloud[1:]]
        rates = torch.tensor([rate, *others], dtype=torch.float64)
        best, rate = cloud[int(rates.argmin())], float(rates.min())
    return Found(best, rate, mean_at_first)
