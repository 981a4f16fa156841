from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit import measured_cost
from camfit.cost import macs, weights
from camfit.errors import BudgetError, RecipeError
from camfit.forms import stored_of
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning import low_rank
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.methods.pruning.low_rank import LowRank
from camfit.network import INPUT, Add, Network, Node
from camfit.plan import Factorise, Plan
from camfit.recipe import method_with
from camfit.surgery import apply, masked
from camfit.trace import trace
from camfit.zoo import mobilenet_v1, vgg_small
from methods.chain import chain


def calibration(network: Network) -> Calibration:
    x = torch.randn(32, *network.input_shape, generator=torch.Generator().manual_seed(1))
    return Calibration(x, torch.zeros(32, dtype=torch.int64))


def spectrum(weight: Tensor, power: float) -> None:
    """Gives a weight, as a matrix [outputs, the rest], the singular values 1, 1/2^power, 1/3^power, ..."""
    with torch.no_grad():
        u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        s = torch.arange(1, len(s) + 1.0) ** -power
        weight.copy_((u * s @ v).reshape(weight.shape))


def vgg(power: float = 0.7, width: int = 128) -> Network:
    """A VGG-small on small images whose layers' spectra fall as trained ones do."""
    torch.manual_seed(0)
    network = trace(vgg_small.build((3, 16, 16), 10, width=width), (3, 16, 16))
    for layer in network.weighted().values():
        spectrum(stored_of(layer), power)
    return network


def ranks(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Ranks by factorised layer, from the widths of its factors."""
    found = {}
    for edit in plan:
        assert isinstance(edit, Factorise)
        layers = [layer for _, layer in edit.factors[:-1]]
        found[edit.layer] = tuple(
            layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features  # type: ignore[union-attr]
            for layer in layers
        )
    return found


@pytest.mark.parametrize("convolution", ["tucker", "cp", "spatial"])
def test_costs_that_ranks_are_chosen_by_are_those_of_the_network_made(convolution: str) -> None:
    """Strides, padding and a shared layer included: what is spared is exactly what the graph's costs then say."""
    conv = nn.Conv2d(6, 6, (3, 5), 1, (1, 2), bias=False)
    layers: dict[str, nn.Module] = {
        "first": nn.Conv2d(3, 6, (5, 3), (2, 3), (2, 0)), "conv": conv, "add": Add(),
        "last": nn.Conv2d(6, 30, 1, 2), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(30, 8),
    }  # fmt: skip
    nodes = (Node("first", "first", (INPUT,)), Node("conv", "conv", ("first",)), Node("conv@2", "conv", ("conv",)),
             Node("add", "add", ("conv", "conv@2")), Node("last", "last", ("add",)), Node("pool", "pool", ("last",)),
             Node("flatten", "flatten", ("pool",)), Node("fc", "fc", ("flatten",)))  # fmt: skip
    network = Network(nodes, layers, (3, 17, 20)).eval()
    wanted = {"first": (2, 2), "conv": (2, 2)} if convolution == "tucker" else {"first": (3,), "conv": (3,)}
    method = LowRank(convolution, ranks={**wanted, "last": (4,), "fc": (2,)})  # type: ignore[arg-type]
    plan = method.plan(network, calibration(network))
    made = apply(network, plan)
    assert len(plan) == 4
    spared = sum(macs(network).values()) - sum(macs(made).values())
    assert f": {spared:,} of {sum(macs(network).values()):,}" in plan.reason
    for fraction in (0.1, 0.4):  # by weights, the limit is met only where the planner counts them as the graph does
        budget = LowRank(convolution, rank="budget", weights=fraction)  # type: ignore[arg-type]
        smaller = apply(network, budget.plan(network, calibration(network)))
        assert sum(weights(smaller).values()) <= (1 - fraction) * sum(weights(network).values())


def test_energy_takes_the_least_rank_that_keeps_it() -> None:
    layer = nn.Linear(10, 10, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([4.0, 3, 2, 1, 1, 1, 0, 0, 0, 0])))  # squares: 16 9 4 1 1 1 of 32
    network = chain((10,), fc=layer)
    for energy, rank in ((0.5, 1), (0.51, 2), (0.78, 2), (0.79, 3), (0.9, 3), (0.92, 4)):
        plan = LowRank(energy=energy).plan(network, calibration(network))
        assert ranks(plan) == {"fc": (rank,)}
        assert plan.notes["fc"]["energy kept"] >= energy
    assert len(LowRank(energy=0.95).plan(network, calibration(network))) == 0  # rank 5 has as many weights


@pytest.mark.parametrize("convolution", ["tucker", "spatial", "cp"])
def test_every_layers_energy_is_at_least_the_one_asked_for(convolution: str) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(12, 16, 3)
    spectrum(conv.weight, 1.0)
    network = chain((12, 7, 7), conv=conv)
    plan = LowRank(convolution, energy=0.7).plan(network, calibration(network))  # type: ignore[arg-type]
    assert 0.7 <= plan.notes["conv"]["energy kept"] < 0.95  # type: ignore[operator]


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("unit", ["macs", "weights"])
@pytest.mark.parametrize("convolution", ["tucker", "spatial"])
def test_the_asked_share_goes_and_hardly_more(convolution: str, unit: str, fraction: float) -> None:
    network = vgg()
    method = method_with("low-rank", {"convolution": convolution, "rank": "budget", unit: fraction})
    smaller = apply(network, method.plan(network, calibration(network)))
    cost = macs if unit == "macs" else weights
    assert fraction <= 1 - sum(cost(smaller).values()) / sum(cost(network).values()) <= fraction + 0.02


@pytest.mark.parametrize("limit", ["size", "latency"])
def test_measured_limits_take_the_least_share_that_meets_them(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is stood in for by multiply-accumulates, which can be told exactly."""
    monkeypatch.setattr(low_rank, "latency", lambda network: float(sum(macs(network).values())))
    network = vgg(width=8)
    unit = "macs" if limit == "latency" else "weights"
    plan = LowRank(rank="budget", **{limit: 0.4}).plan(network, calibration(network))  # type: ignore[arg-type]

    def cost(of: Network) -> float:
        return low_rank.latency(of) if limit == "latency" else measured_cost.size(of)

    allowed = 0.6 * cost(network)
    assert cost(apply(network, plan)) <= allowed
    found = {
        step: LowRank(rank="budget", **{unit: step / 64}).plan(network, calibration(network))  # type: ignore[arg-type]
        for step in range(24, 30)
    }
    least = min(step for step, by_share in found.items() if cost(apply(network, by_share)) <= allowed)
    assert ranks(plan) == ranks(found[least])


def test_measured_limits_that_no_rank_meets_are_refused() -> None:
    network = vgg(width=8)
    with pytest.raises(BudgetError, match=r"size is 0.999, more than the lowest ranks save: found .* of bytes"):
        LowRank(rank="budget", size=0.999).plan(network, calibration(network))


def test_the_budget_spares_layers_whose_spectrum_falls_fast() -> None:
    torch.manual_seed(0)
    layers = {"flat": nn.Linear(40, 40), "steep": nn.Linear(40, 40)}
    spectrum(layers["flat"].weight, 0.2)
    spectrum(layers["steep"].weight, 2.0)
    network = chain((40,), **layers)
    plan = LowRank(rank="budget", weights=0.4).plan(network, calibration(network))
    assert set(ranks(plan)) == {"steep"} and plan.notes["flat"]["left whole"]


def test_vbmf_finds_planted_layers_and_leaves_full_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    planted, full = nn.Linear(60, 60), nn.Linear(60, 60)
    with torch.no_grad():
        planted.weight.copy_(torch.randn(60, 5, generator=generator) @ torch.randn(5, 60, generator=generator))
        planted.weight.add_(torch.randn(60, 60, generator=generator), alpha=0.5)
        full.weight.copy_(torch.eye(60))
    network = chain((60,), planted=planted, full=full)
    assert ranks(LowRank(rank="vbmf").plan(network, calibration(network)))["planted"] == (5,)


def test_what_would_not_be_cheaper_is_left_whole_with_a_note() -> None:
    network = trace(mobilenet_v1.build((3, 12, 12), 4, width=0.1), (3, 12, 12))
    plan = LowRank(energy=1.0).plan(network, calibration(network))
    assert len(plan) == 0
    for path, layer in network.weighted().items():
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        why = f"it has {groups} groups" if groups > 1 else "factors of the ranks asked for are not cheaper"
        assert plan.notes[path] == {"left whole": why}


def test_skipped_layers_stay() -> None:
    network = vgg()
    first, *others = network.weighted()
    plan = LowRank(skip=(first,), energy=0.5).plan(network, calibration(network))
    assert set(ranks(plan)) == set(others)


@pytest.mark.parametrize("convolution", ["tucker", "cp", "spatial"])
def test_channels_of_a_factorised_network_are_cut_and_it_learns(convolution: str) -> None:
    torch.manual_seed(0)
    layers = {"a": nn.Conv2d(3, 12, 3, 2, 1), "relu": nn.ReLU(), "b": nn.Conv2d(12, 10, 3, 1, 1), "act": nn.ReLU(),
              "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(10, 4)}  # fmt: skip
    network = chain((3, 12, 12), **layers).double()
    wanted = {"a": (2, 6), "b": (5, 5)} if convolution == "tucker" else {"a": (6,), "b": (8,)}
    method = LowRank(convolution, ranks=wanted, skip=("fc",))  # type: ignore[arg-type]
    data = calibration(network)
    data = Calibration(data.inputs.double(), torch.arange(32) % 4)
    made = apply(network, method.plan(network, data))
    assert {p.dtype for p in made.parameters()} == {torch.float64}
    groups = {group.name for group in Graph.of(made).groups}
    assert {"a.down", "b.down"} <= groups if convolution != "spatial" else {"a.vertical", "b.vertical"} <= groups
    cut = L1Filters(ratio=0.4).plan(made, data)
    x = data.inputs
    torch.testing.assert_close(apply(made, cut)(x), masked(made, cut)(x))
    made.train()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(made(x), data.targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_reconstruction_brings_the_network_nearer() -> None:
    torch.manual_seed(0)
    network = vgg()
    x = torch.nn.functional.avg_pool2d(torch.randn(96, 3, 20, 20), 5, 1)
    data = Calibration(x[:64], torch.zeros(64, dtype=torch.int64))
    with torch.no_grad():
        exact = network(x[64:])
        plain, fitted = (
            (apply(network, LowRank(energy=0.6, reconstruct=r).plan(network, data))(x[64:]) - exact).square().mean()
            for r in (False, True)
        )
    assert float(fitted) < 0.5 * float(plain)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"convolution": "qr"}, "convolution"),
        ({"energy": 0.0}, "energy is 0.0, expected above 0 and at most 1"),
        ({"rank": "budget"}, "no budget, expected exactly one of macs, weights, size, latency"),
        ({"rank": "budget", "macs": 0.5, "weights": 0.5}, "macs and weights, expected exactly one"),
        ({"rank": "budget", "macs": 1.0}, "macs is 1.0, expected in (0, 1)"),
        ({"macs": 0.5}, "rank = 'energy' with macs, expected none of macs, weights, size, latency"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(RecipeError) as caught:
        method_with("low-rank", options)
    assert why in str(caught.value)


def test_wrong_ranks_and_layers_are_refused_by_name() -> None:
    network = chain((3, 9, 9), conv=nn.Conv2d(3, 8, 3), grouped=nn.Conv2d(8, 8, 3, groups=2))
    data = calibration(network)
    with pytest.raises(RecipeError, match=r"ranks.conv is \[2\], expected rank in and rank out from 1 to 3 and 8"):
        LowRank(ranks={"conv": (2,)}).plan(network, data)
    with pytest.raises(RecipeError, match=r"ranks.conv is \[4, 8\]"):
        LowRank(ranks={"conv": (4, 8)}).plan(network, data)
    with pytest.raises(RecipeError, match="ranks.grouped: the layer has 2 groups"):
        LowRank(ranks={"grouped": (2, 2)}).plan(network, data)
    with pytest.raises(RecipeError, match="no layer 'conv2'"):
        LowRank(skip=("conv2",)).plan(network, data)
    with pytest.raises(BudgetError, match=r"low-rank: macs is 0.99, more than the lowest ranks save"):
        LowRank(rank="budget", macs=0.99).plan(network, data)
