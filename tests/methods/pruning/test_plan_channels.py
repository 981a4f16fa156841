from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.cost import macs, parameters
from camfit.data import Normalisation
from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.graph import Graph
from camfit.measured_cost import latency_cost, size_cost
from camfit.method import Calibration
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.discrimination_aware import DiscriminationAware
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.methods.pruning.lstm_guide import LstmGuide
from camfit.methods.pruning.plan_channels import group_curves, loss_curves, plan_channels
from camfit.methods.pruning.thinet import ThiNet
from camfit.network import Network
from camfit.pack import pack
from camfit.storage import plan_bytes, plan_from_bytes
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import digits_cnn
from methods.chain import CALIBRATION, chain, conv, kept

SCORES = {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), "b": torch.tensor([10.0, 20.0, 30.0, 40.0]).double()}


def two() -> Network:
    """A group a of 4 channels behind 1 and a group b of 4, which a costs 1 + 4 and b 4 + 2 products a pixel."""
    return chain((1, 2, 2), a=conv([[1.0]] * 4), b=conv([[1.0] * 4] * 4), head=conv([[1.0] * 4] * 2))


def cut(**options: object) -> dict[str, int]:
    """Channels that each group keeps, by fixed scores."""
    budget = L1Filters(**options)  # type: ignore[arg-type]
    plan = plan_channels(budget, two(), CALIBRATION, lambda groups: dict(SCORES), "fixed scores")
    return {group: len(keep) for group, keep in kept(plan).items()}


def test_every_group_loses_the_same_fraction() -> None:
    assert cut(ratio=0.5) == {"a": 2, "b": 2}
    assert cut(ratio=0.5, ratios={"a": 0.25}) == {"a": 3, "b": 2}


def test_groups_are_compared_after_division_by_their_norms() -> None:
    # Divided by their norms both groups' scores are the same four numbers: the lowest two are one of each.
    assert cut(channels=2, allocation="global") == {"a": 3, "b": 3}
    budget = L1Filters(channels=2, allocation="global")
    plan = plan_channels(budget, two(), CALIBRATION, lambda groups: dict(SCORES), "fixed", comparable=True)
    assert kept(plan) == {"a": (2, 3)}  # 1 and 2 are the lowest as they stand


def test_a_penalty_on_multiply_accumulates_moves_the_cut_to_the_dearer_group() -> None:
    # A channel of a goes with 1 + 4 products a pixel, one of b with 4 + 2: b is the dearer, its penalty λ, a's 5/6 λ.
    assert cut(channels=1, allocation="global") == {"a": 3}
    assert cut(channels=2, allocation="global", macs_penalty=100.0) == {"b": 2}


def test_greedy_takes_the_least_score_for_what_it_saves() -> None:
    # Equal scores: b's channel saves 6 products a pixel, a's 5.
    assert cut(macs=0.2, allocation="greedy") == {"b": 3}


@pytest.mark.parametrize("allocation", ["uniform", "global", "greedy", "sensitivity"])
@pytest.mark.parametrize("limit", ["macs", "weights", "size"])
def test_every_allocation_meets_every_limit(allocation: str, limit: str) -> None:
    torch.manual_seed(0)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    calibration = Calibration(torch.randn(16, 1, 8, 8), torch.arange(16) % 10)
    budget = L1Filters(**{limit: 0.5, "allocation": allocation})  # type: ignore[arg-type]
    small = apply(network, budget.plan(network, calibration))

    def cost(of: Network) -> int:
        if limit == "size":
            return len(pack(of, Normalisation((1.0,), (0.0,))).data)
        return sum((macs if limit == "macs" else parameters)(of).values())

    assert 0.35 * cost(network) < cost(small) <= 0.5 * cost(network)


def test_sensitivity_spares_the_group_whose_loss_rises() -> None:
    """Only a's first channel carries anything: cutting a hurts, cutting b is free down to one channel."""
    network = chain(
        (1, 1, 1),
        a=conv([[1.0], [0.9], [0.9], [0.9]]),
        b=conv([[1.0, 1.0, 1.0, 1.0], [0.1, 0, 0, 0], [0.1, 0, 0, 0], [0.1, 0, 0, 0]]),
        head=conv([[1.0, 0.0, 0.0, 0.0], [0.0] * 4]),
        flat=nn.Flatten(),
    )
    calibration = Calibration(torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64))
    assert kept(L1Filters(channels=3, allocation="sensitivity").plan(network, calibration)) == {"b": (0,)}
    curves = loss_curves(network, Graph.of(network).groups, SCORES | {"b": -SCORES["b"]}, calibration)
    assert curves["b"][-1] == (0.75, pytest.approx(curves["b"][0][1]))
    assert curves["a"][-1][1] > curves["a"][1][1] > curves["a"][0][1]


def test_curves_prune_each_group_alone_down_to_one_channel() -> None:
    seen: list[tuple[int, ...]] = []

    def evaluate(pruned: Network) -> float:
        widths = tuple(layer.weight.shape[0] for layer in pruned.weighted().values())  # type: ignore[union-attr, misc]
        seen.append(widths)
        return float(sum(widths))

    curves = group_curves(two(), Graph.of(two()).groups, SCORES, evaluate, (0.5,))
    assert seen == [(4, 4, 2), (2, 4, 2), (1, 4, 2), (4, 2, 2), (4, 1, 2)]
    assert curves == {name: [(0.0, 10.0), (0.5, 8.0), (0.75, 7.0)] for name in ("a", "b")}


def test_measured_costs_are_those_of_the_packed_file() -> None:
    network = two()
    graph = Graph.of(network)
    size = size_cost(network, graph)
    assert size({}) == len(pack(network, Normalisation((1.0,), (0.0,))).data)
    assert size({}) - size({"a": 3}) == 4 * 5  # floats of one channel: its filter and what b reads of it
    assert latency_cost(network, graph)({"a": 1}) > 0


def test_a_share_of_the_measured_time_can_go() -> None:
    torch.manual_seed(0)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    small = apply(network, L1Filters(latency=0.5).plan(network, CALIBRATION))
    assert sum(macs(small).values()) < sum(macs(network).values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1.0, expected in"),
        ({"ratios": {"a": -0.1}}, r"ratios\.a is -0.1, expected in"),
        ({"macs": 0.0}, "macs is 0.0, expected in"),
        ({"latency": 1.5}, "latency is 1.5, expected in"),
        ({"channels": 0}, "channels is 0, expected 1 or more"),
        ({"macs": 0.5, "size": 0.5}, "macs and size are given, expected at most one limit"),
        ({"allocation": "fair"}, "allocation is 'fair', expected one of uniform, global, greedy, sensitivity"),
        ({"macs_penalty": -1.0}, "macs_penalty is -1.0, expected 0 or more"),
        ({"round_to": 0}, "round_to is 0, expected 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"l1-filters: {message}"):
        L1Filters(**options)  # type: ignore[arg-type]


def test_limits_out_of_reach_and_broken_scores_say_which() -> None:
    with pytest.raises(BudgetError, match=r"l1-filters: channels is 7, more than these groups have"):
        cut(channels=7)
    with pytest.raises(BudgetError, match=r"l1-filters: size is 0\.99"):
        cut(size=0.99)
    broken = {**SCORES, "b": SCORES["b"] * float("nan")}
    with pytest.raises(PlanError, match="the scores of group 'b' are not finite"):
        plan_channels(L1Filters(), two(), CALIBRATION, lambda groups: broken, "nothing")


def test_kept_channels_are_rounded_up_under_every_allocation() -> None:
    for allocation in ("uniform", "global", "greedy"):
        assert set(cut(channels=3, allocation=allocation, round_to=2).values()) == {2}


def test_the_options_are_data_that_every_method_shares() -> None:
    assert issubclass(L1Filters, ChannelBudget)
    assert L1Filters().NAME == "l1-filters"


@pytest.mark.parametrize("method", [L1Filters, ThiNet, DiscriminationAware, LstmGuide])
def test_curves_are_in_the_plan_where_they_are_asked_for(method: type[ChannelBudget]) -> None:
    layers = {"a": conv([[1.0]] * 4), "b": conv([[1.0] * 4] * 4), "head": conv([[1.0] * 4] * 2)}
    network = chain((1, 1, 1), **layers, flat=nn.Flatten())
    calibration = Calibration(torch.ones(4, 1, 1, 1), torch.zeros(4, dtype=torch.int64))
    assert method(ratio=0.5).plan(network, calibration).curves == {}
    plan = method(ratio=0.5, curves=True).plan(network, calibration)
    assert set(plan.curves) == {"a", "b"}
    for curve in plan.curves.values():
        assert [share for share, _ in curve] == [0.0, 0.25, 0.5, 0.75]
    assert plan_from_bytes(plan_bytes(plan), "plan").curves == plan.curves
