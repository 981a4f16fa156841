from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.cost import macs, parameters
from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.forms import Hashed
from camfit.graph import Graph
from camfit.methods.pruning.l1_filters import L1Filters, filter_sums
from camfit.network import INPUT, Add, Network, Node
from camfit.plan import Constrain, KeepChannels, Plan
from camfit.surgery import apply, masked
from camfit.trace import trace
from camfit.zoo import digits_cnn, fire_small, lenet5, mobilenet_v1, resnet20
from methods.chain import CALIBRATION, chain, conv, kept
from networks import inputs, random_network


def three() -> Network:
    """Σ|w| of a: 3, 1, 2. b's are equal while all of a is there; without a's channel 1 they are 1, 2 and 3."""
    return chain(
        (1, 3, 3),
        a=conv([[3.0], [-1.0], [2.0]]),
        b=conv([[0.5, 5.0, 0.5], [1.0, -4.0, 1.0], [1.5, 3.0, -1.5]]),
        head=conv([[1.0, 1.0, 1.0]] * 2),
    )


def test_the_filters_with_the_smallest_sums_go() -> None:
    assert kept(L1Filters(ratio=0.34).plan(three(), CALIBRATION)) == {"a": (0, 2), "b": (0, 1)}
    assert kept(L1Filters(ratio=0.67).plan(three(), CALIBRATION)) == {"a": (0,), "b": (0,)}


def test_greedy_selection_does_not_count_kernels_already_removed() -> None:
    independent, greedy = L1Filters(ratio=0.34), L1Filters(ratio=0.34, selection="greedy")
    assert kept(independent.plan(three(), CALIBRATION))["b"] == (0, 1)  # all sums are 6: the first two stay
    assert kept(greedy.plan(three(), CALIBRATION)) == {"a": (0, 2), "b": (1, 2)}


def test_ratios_name_layers_and_skip_leaves_them_whole() -> None:
    assert kept(L1Filters(ratio=0.0, ratios={"a": 0.5}).plan(three(), CALIBRATION)) == {"a": (0, 2)}
    assert kept(L1Filters(ratio=0.34, skip=("a",)).plan(three(), CALIBRATION)) == {"b": (0, 1)}
    assert kept(L1Filters(ratio=0.67, round_to=2).plan(three(), CALIBRATION)) == {"a": (0, 2), "b": (0, 1)}


def test_a_residual_streams_channels_are_scored_over_all_that_add_into_it() -> None:
    layers: dict[str, nn.Module] = {
        "stem": conv([[1.0], [3.0]]),
        "branch": conv([[4.0, 4.0], [1.0, 0.5]]),
        "add": Add(),
        "head": conv([[1.0, 1.0]]),
    }
    nodes = (Node("stem", "stem", (INPUT,)), Node("branch", "branch", ("stem",)),
             Node("add", "add", ("stem", "branch")), Node("head", "head", ("add",)))  # fmt: skip
    network = Network(nodes, layers, (1, 3, 3)).eval()
    (group,) = Graph.of(network).groups
    assert filter_sums(network, group, {}).tolist() == [9.0, 4.5]
    plan = L1Filters(ratio=0.5).plan(network, CALIBRATION)
    assert kept(plan) == {"stem": (0,)}
    assert plan.notes["stem"] == {"channels": 2, "kept": 1, "share of the score kept": pytest.approx(9 / 13.5)}


def test_a_depthwise_filter_counts_for_its_channel_and_groups_read_their_own_inputs() -> None:
    deep = nn.Conv2d(2, 4, 1, groups=2, bias=False)
    grouped = nn.Conv2d(4, 4, 1, groups=2, bias=False)
    with torch.no_grad():
        deep.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1))
        grouped.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])[:, :, None, None])
    network = chain((1, 3, 3), first=conv([[10.0], [20.0]]), deep=deep, grouped=grouped, head=conv([[1.0] * 4]))
    graph = Graph.of(network)
    # grouped couples deep's outputs (0, 2) and (1, 3), and with them first's two channels: one group of one channel.
    assert [(group.name, len(group)) for group in graph.groups] == [("first", 1), ("grouped", 2)]
    assert filter_sums(network, graph.group("first"), {}).tolist() == [40.0]
    assert filter_sums(network, graph.group("grouped"), {}).tolist() == [3.0 + 11.0, 7.0 + 15.0]
    assert filter_sums(network, graph.group("grouped"), {"grouped": {0, 3}}).tolist() == [2.0 + 5.0, 4.0 + 7.0]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_the_asked_share_of_macs_goes_and_hardly_more(fraction: float) -> None:
    torch.manual_seed(0)
    network = trace(resnet20.build((3, 16, 16), 10, depth=8), (3, 16, 16))
    before = sum(macs(network).values())
    after = sum(macs(apply(network, L1Filters(macs=fraction).plan(network, CALIBRATION))).values())
    assert fraction <= 1 - after / before <= fraction + 0.05


def test_ratios_stay_when_the_rest_shares_the_macs() -> None:
    plan = L1Filters(macs=0.3, ratios={"conv2": 0.25}).plan(digits(), CALIBRATION)
    assert len(kept(plan)["conv2"]) == 24
    cut = apply(digits(), plan)
    assert sum(macs(cut).values()) <= 0.7 * sum(macs(digits()).values())


def digits() -> Network:
    torch.manual_seed(0)
    return trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: lenet5.build((1, 28, 28), 10), (1, 28, 28)),
        (lambda: resnet20.build((3, 16, 16), 10, width=6), (3, 16, 16)),
        (lambda: mobilenet_v1.build((3, 32, 32), 10, width=0.1), (3, 32, 32)),
        (lambda: fire_small.build((3, 16, 16), 10, width=4), (3, 16, 16)),
    ],
    ids=["lenet5", "resnet20", "mobilenet_v1", "fire_small"],
)
def test_channels_are_really_removed_from_every_kind_of_network(build, shape) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    network = trace(build(), shape)
    for _, layer in network.layers():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean), nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    network = network.double()
    plan = L1Filters(ratio=0.5).plan(network, CALIBRATION)
    assert {edit.group for edit in plan} == {group.name for group in Graph.of(network).groups}
    cut = apply(network, plan)
    assert sum(macs(cut).values()) < 0.4 * sum(macs(network).values())
    assert sum(parameters(cut).values()) < 0.4 * sum(parameters(network).values())
    with torch.no_grad():
        x = inputs(network, 0)
        torch.testing.assert_close(cut(x), masked(network, plan)(x), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(cut(x), network(x))


@pytest.mark.parametrize("seed", range(30))
def test_greedy_sums_are_those_of_the_network_cut_so_far(seed: int) -> None:
    """Greedy's scores of a group equal the plain scores after all earlier groups have really been cut."""
    network = random_network(seed).double()
    if not Graph.of(network).groups:
        return
    plan = L1Filters(ratio=0.5, selection="greedy").plan(network, CALIBRATION)
    for edit in plan:
        assert isinstance(edit, KeepChannels)
        group = Graph.of(network).group(edit.group)
        scores = filter_sums(network, group, {})
        lowest_kept = float(scores[list(edit.keep)].min())
        gone = [float(s) for channel, s in enumerate(scores) if channel not in edit.keep]
        assert all(score <= lowest_kept + 1e-12 for score in gone)
        network = apply(network, Plan("test", (edit,)))


def test_an_unknown_selection_is_refused() -> None:
    with pytest.raises(RecipeError, match="selection is 'best', expected 'independent' or 'greedy'"):
        L1Filters(selection="best")  # type: ignore[arg-type]


def test_what_cannot_be_planned_says_why() -> None:
    with pytest.raises(RecipeError, match="no layer 'c'; expected one of a, b, head"):
        L1Filters(skip=("c",)).plan(three(), CALIBRATION)
    with pytest.raises(PlanError, match=r"ratios\.head: its channels reach the network's output"):
        L1Filters(ratios={"head": 0.5}).plan(three(), CALIBRATION)
    with pytest.raises(PlanError, match=r"ratios\.a: the layer is skipped"):
        L1Filters(ratios={"a": 0.5}, skip=("a",)).plan(three(), CALIBRATION)
    with pytest.raises(BudgetError, match=r"macs is 0\.95"):
        L1Filters(macs=0.95).plan(three(), CALIBRATION)
    stored: Tensor = torch.ones(2)
    edits = tuple(
        Constrain(path, Hashed(tuple(layer.weight.shape), 2, 1), stored) for path, layer in three().weighted().items()
    )
    with pytest.raises(
        PlanError, match="l1-filters: no channels can be cut: 'a': the weight of 'a' is hashed by hashednets"
    ):
        L1Filters().plan(apply(three(), Plan("hashednets", edits)), CALIBRATION)


def test_two_ratios_for_one_group_are_refused() -> None:
    network = trace(resnet20.build((3, 8, 8), 4, depth=8, width=2), (3, 8, 8))
    options = L1Filters(ratios={"conv1": 0.5, "stage1.0.conv2": 0.25})
    with pytest.raises(PlanError, match=r"'conv1' already has 0\.5; channels of one group go together"):
        options.plan(network, CALIBRATION)
