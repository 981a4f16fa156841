from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from camfit.methods.pruning.particle_filter import Particle, Space, drawn, moved, resampled, search, weights


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_importance_is_what_a_particle_classifies_right() -> None:
    """Rates 0.2, 0.6, 1: right 0.8, 0.4, 0, of which the first is two thirds; squared 0.64, 0.16: four fifths."""
    rates = torch.tensor([0.2, 0.6, 1.0])
    torch.testing.assert_close(weights(rates), torch.tensor([2 / 3, 1 / 3, 0.0], dtype=torch.float64))
    torch.testing.assert_close(weights(rates, 2.0), torch.tensor([0.8, 0.2, 0.0], dtype=torch.float64))


def test_particles_that_get_nothing_right_weigh_alike() -> None:
    assert weights(torch.ones(4)).tolist() == [0.25] * 4


def test_a_particle_goes_on_as_often_as_it_weighs_rounded_up_or_down() -> None:
    importance = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    for seed in range(200):
        counts = resampled(importance, generator(seed)).bincount(minlength=4)
        assert int(counts.sum()) == 4
        for count, weight in zip(counts.tolist(), importance.tolist(), strict=True):
            assert math.floor(4 * weight + 1e-9) <= count <= math.ceil(4 * weight - 1e-9)


def test_in_the_mean_a_particle_goes_on_in_proportion_to_its_weight() -> None:
    """Counts lie within 1 of 4·w, so the mean of 4000 draws has a standard deviation of at most 0.5/√4000 = 0.008."""
    importance = torch.tensor([0.62, 0.21, 0.13, 0.04], dtype=torch.float64)
    total = torch.zeros(4, dtype=torch.float64)
    for seed in range(4000):
        total += resampled(importance, generator(seed)).bincount(minlength=4)
    torch.testing.assert_close(total / 4000, 4 * importance, rtol=0, atol=0.04)


def test_a_particle_without_weight_dies_out() -> None:
    importance = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert all(resampled(importance, generator(seed)).tolist() == [1, 1, 1] for seed in range(50))


def test_patterns_are_drawn_evenly() -> None:
    """Of the 6 patterns of 2 in 4, each 1000 times in 6000; ±150 is five standard deviations."""
    counts: dict[tuple[int, ...], int] = {}
    source = generator()
    for _ in range(6000):
        pattern = tuple(drawn({"a": Space(4, 2)}, source)["a"].tolist())
        counts[pattern] = counts.get(pattern, 0) + 1
    assert set(counts) == set(permutations((1, 1, 0, 0)))
    assert all(850 < count < 1150 for count in counts.values())


@pytest.mark.parametrize("space", [Space(10, 4), Space(10, 4, 3), Space(5, 5, 2), Space(3, 0), Space(1, 1, 2)])
def test_a_move_exchanges_some_units_and_keeps_their_number(space: Space) -> None:
    before = drawn({"a": space}, generator(1))
    for seed in range(50):
        after = moved(before, {"a": space}, 0.25, generator(seed))["a"]
        assert int((after > 0).sum()) == space.pruned
        assert int(after.max()) <= space.ways
        newly_pruned = int(((after > 0) & (before["a"] == 0)).sum())
        assert newly_pruned == min(1, space.pruned, space.units - space.pruned)


def test_a_move_leaves_the_particle_that_it_starts_from() -> None:
    spaces = {"a": Space(8, 3, 2)}
    before = drawn(spaces, generator())
    copy = before["a"].clone()
    moved(before, spaces, 1.0, generator(1))
    assert torch.equal(before["a"], copy)


def wrong_with(target: Tensor) -> tuple[list[Particle], object]:
    """A rate that grows with each pruned unit that the target has not, and the particles it was asked for."""
    asked: list[Particle] = []

    def rate(particle: Particle) -> float:
        asked.append(particle)
        return float(((particle["a"] > 0) & (target == 0)).double().sum()) / len(target)

    return asked, rate


def test_the_search_finds_the_pattern_that_misclassifies_least() -> None:
    """12 of 24 units cost nothing: one pattern among 2.7 million, in 1220 tries. One unit more costs 4 %: a high power."""
    target = (torch.arange(24) % 2 == 0).long()
    asked, rate = wrong_with(target)
    found = search(
        {"a": Space(24, 12)}, rate,  # type: ignore[arg-type]
        particles=20, rounds=60, share=0.1, power=64.0, generator=generator(),
    )  # fmt: skip
    assert torch.equal((found.particle["a"] > 0).long(), target)
    assert found.rate == 0
    assert len(asked) <= 20 * 61
    assert 0.2 < found.mean_at_first < 0.3


def test_the_best_particle_is_never_lost() -> None:
    """With a power near 0 selection is blind, and still the result is the least rate ever seen."""
    target = (torch.arange(24) % 2 == 0).long()
    asked, rate = wrong_with(target)
    found = search(
        {"a": Space(24, 12)}, rate,  # type: ignore[arg-type]
        particles=6, rounds=20, share=1.0, power=1e-9, generator=generator(),
    )  # fmt: skip
    _, again = wrong_with(target)
    assert found.rate == min(again(particle) for particle in asked)  # type: ignore[operator]
