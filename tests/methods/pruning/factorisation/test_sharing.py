from __future__ import annotations

import itertools
import math
import random

import pytest

from camfit.errors import BudgetError
from camfit.methods.pruning.factorisation.sharing import Rung, share


def ladder(*points: tuple[int, float]) -> list[Rung]:
    return [Rung((cost,), cost, energy) for cost, energy in points]


def test_cost_goes_where_it_keeps_the_most() -> None:
    ladders = {"a": ladder((1, 0.5), (2, 0.9), (3, 0.95)), "b": ladder((1, 0.8), (2, 0.85), (3, 0.9))}
    assert {name: rung.cost for name, rung in share(ladders, 4).items()} == {"a": 2, "b": 2}
    assert {name: rung.cost for name, rung in share(ladders, 3).items()} == {"a": 2, "b": 1}
    assert {name: rung.cost for name, rung in share(ladders, 100).items()} == {"a": 3, "b": 3}


def test_what_is_left_buys_a_rung_inside_the_hull() -> None:
    ladders = {"a": ladder((1, 0.5), (4, 0.6), (10, 1.0))}
    assert share(ladders, 7)["a"].cost == 4  # not on the hull from 1 to 10, but better than 1


@pytest.mark.parametrize("seed", range(30))
def test_it_is_within_one_step_of_the_best(seed: int) -> None:
    """Against all combinations: no more than the largest single step of loss away, and never over the limit."""
    chosen = random.Random(seed)
    ladders = {}
    for name in "abc":
        energies = sorted(chosen.uniform(0.05, 1) for _ in range(5))
        ladders[name] = ladder(*zip(sorted(chosen.sample(range(1, 60), 5)), energies, strict=True))
    least = sum(rungs[0].cost for rungs in ladders.values())
    most = sum(rungs[-1].cost for rungs in ladders.values())
    limit = chosen.uniform(least, most)
    found = share(ladders, limit)
    assert sum(rung.cost for rung in found.values()) <= limit
    best = min(
        sum(rung.loss for rung in rungs)
        for rungs in itertools.product(*ladders.values())
        if sum(rung.cost for rung in rungs) <= limit
    )
    step = max(a.loss - b.loss for rungs in ladders.values() for a, b in itertools.combinations(rungs, 2))
    assert sum(rung.loss for rung in found.values()) <= best + step + 1e-12


def test_the_loss_is_the_product_of_energies() -> None:
    assert Rung(None, 1, 0.5).loss + Rung(None, 1, 0.25).loss == pytest.approx(-math.log(0.125))


def test_too_little_is_refused_with_the_least_that_would_do() -> None:
    with pytest.raises(BudgetError, match="found 1, expected at least 2"):
        share({"a": ladder((1, 0.5)), "b": ladder((1, 0.5), (2, 0.6))}, 1.0)
