from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.method import Calibration
from camfit.methods.pruning.adversarial import Discriminator, Game
from camfit.methods.pruning.gal import Gal
from camfit.methods.pruning.limit import Limit
from camfit.methods.pruning.soft_masks import MaskedNetwork
from camfit.methods.quantization.weight_sharing import WeightSharing
from camfit.network import INPUT, Add, Concat, Network, Node
from camfit.plan import DropBranch
from camfit.storage import same_plan
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import resnet20
from methods.chain import chain, linear

BRIEF = {"passes": 40, "recovery": 4}


def blocks() -> tuple[Network, Calibration]:
    """A small residual net, untrained."""
    torch.manual_seed(0)
    network = trace(resnet20.build((1, 8, 8), 4, depth=14, width=6), (1, 8, 8))
    return network, Calibration(torch.randn(96, 1, 8, 8), torch.arange(96) % 4, seed=1)


def dropped(plan: object) -> list[DropBranch]:
    return [edit for edit in plan if isinstance(edit, DropBranch)]  # type: ignore[attr-defined]


def test_a_block_that_does_nothing_is_removed_whole() -> None:
    """x + A(x), then + B, whose last layer gives a thousandth of what A's gives; the head reads both sums."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"relu": nn.ReLU(), "head": nn.Linear(6, 6), "plus": Add()}
    for name, size in (("a", 1.0), ("b", 1e-3)):
        layers |= {f"{name}1": nn.Linear(6, 12), f"{name}2": nn.Linear(12, 6)}
        with torch.no_grad():
            for layer in (layers[f"{name}1"], layers[f"{name}2"]):
                layer.weight.normal_()
                layer.bias.zero_()
            layers[f"{name}2"].weight.mul_(size)
    nodes = (
        Node("a1", "a1", (INPUT,)),
        Node("relu", "relu", ("a1",)),
        Node("a2", "a2", ("relu",)),
        Node("first", "plus", (INPUT, "a2")),
        Node("b1", "b1", ("first",)),
        Node("relu@2", "relu", ("b1",)),
        Node("b2", "b2", ("relu@2",)),
        Node("second", "plus", ("first", "b2")),
        Node("head", "head", ("second",)),
    )
    network = Network(nodes, layers, (6,)).eval()
    data = Calibration(torch.randn(128, 6), torch.zeros(128).long())
    plan = Gal(sparsity=0.1, **BRIEF).plan(network, data)
    assert dropped(plan) == [DropBranch("second", 1)]
    done = apply(network, plan)
    assert not {"b1", "b2"} & set(done.layer_paths())
    with torch.no_grad():
        before, after = network(data.inputs), done(data.inputs)
    assert float((before - after).square().mean() / before.square().mean()) < 0.02


def test_a_branch_that_says_nothing_leaves_its_concatenation() -> None:
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "one": nn.Conv2d(2, 4, 3, padding=1),
        "other": nn.Conv2d(2, 4, 1),
        "join": Concat(),
        "flat": nn.Flatten(),
        "head": nn.Linear(8 * 16, 3),
    }
    with torch.no_grad():
        layers["head"].weight[:, 4 * 16 :] *= 1e-3
    nodes = (
        Node("one", "one", (INPUT,)),
        Node("other", "other", (INPUT,)),
        Node("join", "join", ("one", "other")),
        Node("flat", "flat", ("join",)),
        Node("head", "head", ("flat",)),
    )
    network = Network(nodes, layers, (2, 4, 4)).eval()
    data = Calibration(torch.randn(128, 2, 4, 4), torch.zeros(128).long())
    plan = Gal(sparsity=0.2, **BRIEF).plan(network, data)
    assert dropped(plan) == [DropBranch("join", 1)]
    assert apply(network, plan).layer_paths() == ("one", "flat", "head")


def test_labels_are_not_looked_at() -> None:
    network, data = blocks()
    options = Gal(passes=2, recovery=1)
    other = Calibration(data.inputs, data.targets.flip(0), data.seed)
    assert same_plan(options.plan(network, data), options.plan(network, other))


@pytest.mark.parametrize("name", ["macs", "weights", "size"])
def test_a_limit_is_met(name: str) -> None:
    network, data = blocks()
    limit = Limit.of(network, name, 0.5)
    options = Gal(passes=4, recovery=0, **{name: 0.5})  # type: ignore[arg-type]
    assert limit.met(apply(network, options.plan(network, data)))


def test_a_limit_out_of_reach_is_refused() -> None:
    network, data = blocks()
    with pytest.raises(BudgetError, match=r"gal: macs is 0.999, more than can go"):
        Gal(macs=0.999, passes=1, recovery=0).plan(network, data)


def test_channels_alone_where_branches_are_not_wanted() -> None:
    network, data = blocks()
    plan = Gal(macs=0.5, passes=4, recovery=0, branches=False).plan(network, data)
    assert not dropped(plan) and len(plan)


def test_the_discriminator_learns_to_tell_two_networks_outputs_apart() -> None:
    torch.manual_seed(0)
    real, false = torch.randn(256, 5), torch.randn(256, 5) + torch.tensor([1.0, 0, 0, 0, 0])
    judge = Discriminator(real)
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        (nn.functional.softplus(-judge(real)).mean() + nn.functional.softplus(judge(false)).mean()).backward()
        optimizer.step()
    assert float((judge(real) > 0).float().mean()) > 0.65 < float((judge(false) < 0).float().mean())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_generator_follows_the_discriminator(weight: float) -> None:
    """Where the outputs are the baseline's own, their error pulls nowhere: what moves the weights is the verdict."""
    network, data = blocks()
    masked = MaskedNetwork(network, ())
    game = Game(network, masked, data.inputs, weight, (1e-3, 1e-3), seed=0)
    before = [parameter.clone() for parameter in masked.parameters()]
    game.play(None)
    moved = any(not torch.equal(old, new) for old, new in zip(before, masked.parameters(), strict=True))
    assert moved == (weight > 0)


def test_weights_that_cannot_take_a_mask_up_are_named_with_their_method() -> None:
    network = chain((3,), a=linear(torch.eye(3).tolist()), b=linear(torch.eye(3).tolist()))
    data = Calibration(torch.randn(8, 3), torch.zeros(8).long())
    shared = apply(network, WeightSharing().plan(network, data))
    with pytest.raises(PlanError, match="gal: masks cannot be folded.*'b' in form codebook \\(weight-sharing\\)"):
        Gal().plan(shared, data)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="growth is 0.5, expected 1 or more"):
        Gal(growth=0.5)
    with pytest.raises(RecipeError, match="macs is 1, expected in"):
        Gal(macs=1)
    with pytest.raises(RecipeError, match="macs and latency are given, expected at most one limit"):
        Gal(macs=0.5, latency=0.5)
