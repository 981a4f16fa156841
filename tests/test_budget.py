from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camfit.budget import (
    Budget,
    equal_loss,
    global_rank,
    greedy,
    highest,
    least_loss,
    parse_drop,
    parse_latency,
    parse_size,
    rounded,
    uniform,
)
from camfit.cost import Cost
from camfit.errors import BudgetError


@pytest.mark.parametrize(
    ("text", "size"),
    [("40kB", 40_000), ("40KiB", 40_960), ("1.5MB", 1_500_000), ("2 MiB", 2 << 20), ("123", 123), (" 7B ", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "ms"), [("2ms", 2.0), ("500us", 0.5), ("0.1s", 100.0), (".5 ms", 0.5), ("3µs", 0.003)]
)
def test_latencies(text: str, ms: float) -> None:
    assert parse_latency(text) == pytest.approx(ms)


@pytest.mark.parametrize(
    ("parse", "text", "field"),
    [
        (parse_size, "40 apples", "max_size"),
        (parse_size, "-3kB", "max_size"),
        (parse_size, "1e9", "max_size"),
        (parse_size, "", "max_size"),
        (parse_latency, "2", "max_latency"),
        (parse_latency, "2kB", "max_latency"),
        (parse_drop, "0.3%", "max_drop"),
        (parse_drop, "nan", "max_drop"),
    ],
)
def test_malformed_text_is_refused_with_field_and_find(parse: Callable[[str], float], text: str, field: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"{field}: found {text!r}, expected ")


def test_a_budget_from_text() -> None:
    assert Budget.parse("40kB", "2ms", "0.3") == Budget(40_000, 2.0, 0.3)
    assert Budget.parse(max_drop="0") == Budget(max_drop=0.0)
    assert str(Budget(40_000, 0.5, 0.3)) == "at most 40,000 bytes, at most 0.5 ms, at most 0.3 points lost"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({}, "at least one of max_size, max_latency, max_drop"),
        ({"max_size": 0}, "max_size: found 0"),
        ({"max_latency": 0.0}, "max_latency: found 0.0"),
        ({"max_latency": float("nan")}, "max_latency: found nan"),
        ({"max_drop": -0.1}, "max_drop: found -0.1"),
        ({"max_drop": float("inf")}, "max_drop: found inf"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float], field: str) -> None:
    with pytest.raises(BudgetError, match=field):
        Budget(**limits)  # type: ignore[arg-type]


# -- sharing ---------------------------------------------------------------------------------------------------


def linear(weights: Mapping[str, float]) -> Cost:
    return lambda kept: sum(weight * kept[name] for name, weight in weights.items())


def test_uniform_keeps_one_fraction_everywhere() -> None:
    sizes = {"a": 10, "b": 20}
    assert uniform(sizes, linear({"a": 1, "b": 1}), limit=15) == {"a": 5, "b": 10}
    assert uniform(sizes, linear({"a": 1, "b": 1}), limit=30) == sizes
    assert uniform(sizes, linear({"a": 1, "b": 1}), limit=15, multiple=4) == {"a": 4, "b": 8}


def test_global_rank_drops_the_lowest_scores_of_all_units() -> None:
    scores = {"a": torch.tensor([5.0, 1.0, 3.0]), "b": torch.tensor([2.0, 4.0, 6.0])}
    assert global_rank(scores, linear({"a": 1, "b": 1}), limit=3) == {"a": 1, "b": 2}
    assert global_rank(scores, linear({"a": 1, "b": 1}), limit=2) == {"a": 1, "b": 1}
    assert global_rank(scores, linear({"a": 1, "b": 1}), limit=99) == {"a": 3, "b": 3}
    assert global_rank(scores, linear({"a": 1, "b": 1}), limit=4, multiple=2) == {"a": 2, "b": 2}


def test_greedy_weighs_scores_against_cost() -> None:
    scores = {"cheap": torch.tensor([1.0, 9.0, 9.0]), "dear": torch.tensor([2.0, 9.0, 9.0])}
    # "dear" loses 2 of score for 10 of cost: the better bargain, though its score is higher.
    assert greedy(scores, linear({"cheap": 1, "dear": 10}), limit=25) == {"cheap": 3, "dear": 2}
    assert global_rank(scores, linear({"cheap": 1, "dear": 10}), limit=32) == {"cheap": 2, "dear": 3}
    # Two multiples apart: a channel of each would go, 1 + 9 and 2 + 9 of score.
    assert greedy(scores, linear({"cheap": 1, "dear": 10}), limit=32, multiple=2) == {"cheap": 3, "dear": 2}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_share_meets_its_limit_and_leaves_something(data: st.DataObject) -> None:
    sizes = data.draw(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
    weights = {name: float(data.draw(st.integers(1, 5))) for name in sizes}
    scores = {
        name: torch.tensor(data.draw(st.lists(st.floats(0, 9), min_size=n, max_size=n)), dtype=torch.float64)
        for name, n in sizes.items()
    }
    cost = linear(weights)
    limit = data.draw(st.floats(sum(weights.values()), cost(sizes)))
    for kept in (uniform(sizes, cost, limit), global_rank(scores, cost, limit), greedy(scores, cost, limit)):
        assert cost(kept) <= limit
        assert all(1 <= kept[name] <= sizes[name] for name in sizes)


def test_equal_loss_takes_as_much_of_every_unit_as_costs_the_same() -> None:
    # Dropping an element of a adds 1 to the loss, one of b 2; the first of c are free, the last adds 10.
    curves = {
        "a": [(0.0, 5.0), (0.75, 8.0)],
        "b": [(0.0, 5.0), (0.75, 11.0)],
        "c": [(0.0, 5.0), (0.5, 4.0), (0.75, 15.0)],
    }
    sizes = dict.fromkeys("abc", 4)
    cost = linear(dict.fromkeys("abc", 1.0))
    assert equal_loss(curves, sizes, cost, limit=10) == {"a": 4, "b": 4, "c": 2}
    assert equal_loss(curves, sizes, cost, limit=11) == {"a": 4, "b": 4, "c": 3}  # no more than is asked for
    assert equal_loss(curves, sizes, cost, limit=9) == {"a": 3, "b": 4, "c": 2}
    assert equal_loss(curves, sizes, cost, limit=7) == {"a": 2, "b": 3, "c": 2}
    assert equal_loss(curves, sizes, cost, limit=10, multiple=2) == {"a": 4, "b": 4, "c": 2}
    with pytest.raises(BudgetError, match="found 2, expected at least 3"):
        equal_loss(curves, sizes, cost, limit=2)


def test_a_limit_out_of_reach_is_refused_with_the_least_cost() -> None:
    scores = {"a": torch.ones(3), "b": torch.ones(3)}
    for share in (
        lambda c: uniform({"a": 3, "b": 3}, c, 1),
        lambda c: global_rank(scores, c, 1),
        lambda c: greedy(scores, c, 1),
    ):
        with pytest.raises(BudgetError, match="found 1, expected at least 2"):
            share(linear({"a": 1, "b": 1}))


def test_rounding_and_choice() -> None:
    assert [rounded(n, 10, 4) for n in (1, 4, 5, 9, 10)] == [4, 4, 8, 10, 10]
    assert highest(torch.tensor([1.0, 3.0, 2.0, 3.0]), 2) == (1, 3)
    assert highest(torch.tensor([2.0, 2.0, 2.0]), 2) == (0, 1)


def linear_cost(prices: Mapping[str, float]) -> Cost:
    sizes = {"a": 4, "b": 4}
    return lambda kept: sum(price * kept.get(name, sizes[name]) for name, price in prices.items())


def test_least_loss_drops_by_loss_for_cost_saved() -> None:
    """Losses added: a 1, 3, 5 for 10 each, b 1, 1, 8 for 4 each: per cost .1, .3, .5 and .25, .25, 2."""
    curves = {
        "a": [(0.0, 0.0), (0.25, 1.0), (0.5, 4.0), (0.75, 9.0)],
        "b": [(0.0, 0.5), (0.25, 1.5), (0.5, 2.5), (0.75, 10.5)],
    }
    cost, sizes = linear_cost({"a": 10.0, "b": 4.0}), {"a": 4, "b": 4}
    orders = [
        least_loss(curves, sizes, cost, limit) for limit in (56, 46, 42, 38, 28, 18)
    ]  # drops nothing, a, b, b, a, a
    assert orders == [
        {"a": 4, "b": 4}, {"a": 3, "b": 4}, {"a": 3, "b": 3}, {"a": 3, "b": 2}, {"a": 2, "b": 2}, {"a": 1, "b": 2},
    ]  # fmt: skip
    with pytest.raises(BudgetError):
        least_loss(curves, sizes, cost, 13.9)


def test_least_loss_sees_past_a_hump() -> None:
    """The first two of b cost much and the third nothing: together less for each than a's."""
    curves = {"a": [(0.0, 0.0), (0.25, 3.0), (0.75, 9.0)], "b": [(0.0, 0.0), (0.25, 4.0), (0.5, 6.0), (0.75, 6.0)]}
    found = least_loss(curves, {"a": 4, "b": 4}, linear_cost({"a": 1.0, "b": 1.0}), 5)
    assert found == {"a": 4, "b": 1}


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.95))
@settings(max_examples=30, deadline=None)
def test_least_loss_of_convex_curves_is_the_least_of_all_choices(seed: int, share: float) -> None:
    """Up to the channel that the limit makes one lose in whole."""
    generator = torch.Generator().manual_seed(seed)
    added = {name: torch.rand(3, generator=generator).sort().values for name in ("a", "b")}
    losses = {name: [0.0, *of.cumsum(0).tolist()] for name, of in added.items()}
    curves = {name: [(count / 4, loss) for count, loss in enumerate(of)] for name, of in losses.items()}
    cost, sizes = linear_cost({"a": 1.0, "b": 1.0}), {"a": 4, "b": 4}
    limit = max(2.0, share * 8)
    kept = least_loss(curves, sizes, cost, limit)
    best = min(losses["a"][4 - a] + losses["b"][4 - b] for a in range(1, 5) for b in range(1, 5) if a + b <= limit)
    assert losses["a"][4 - kept["a"]] + losses["b"][4 - kept["b"]] == pytest.approx(best)
