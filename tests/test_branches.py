from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.errors import PlanError
from camfit.network import INPUT, Add, Concat, Network, Node
from camfit.plan import DropBranch, KeepChannels, Plan
from camfit.storage import network_bytes, network_from_bytes
from camfit.surgery import apply
from camfit.surgery.branches import without_branch, zeroed_branch
from camfit.trace import trace
from camfit.zoo import fire_small, resnet20
from networks import inputs, random_network, with_forms


def joins(network: Network) -> list[tuple[str, int]]:
    """Every input of every addition and concatenation."""
    found = [node for node in network.nodes if isinstance(network.get_submodule(node.layer), Add | Concat)]
    return [(node.name, place) for node in found for place in range(len(node.inputs))]


def drop(join: str, branch: int) -> Plan:
    return Plan("test", (DropBranch(join, branch),))


def test_without_a_branch_it_is_as_with_a_zero_there_on_random_networks() -> None:
    """Removed is masked, for every input of every join of 120 networks; what cannot go is said."""
    gone = {Add: 0, Concat: 0}
    refused = 0
    for seed in range(120):
        network = random_network(seed).double()
        if seed % 3 == 0:
            network = with_forms(network, seed, ("dense", "masked", "codebook"))
        x = inputs(network, seed, count=3)
        before = network_bytes(network)
        for join, branch in joins(network):
            kind = type(network.get_submodule(next(node.layer for node in network.nodes if node.name == join)))
            try:
                removed = apply(network, drop(join, branch))
            except PlanError as error:
                assert "cannot go" in str(error) or "no layer would remain" in str(error)
                refused += 1
                continue
            with torch.no_grad():
                expected = zeroed_branch(network, join, branch)(x)
                torch.testing.assert_close(removed(x), expected, rtol=1e-12, atol=1e-12)
            assert sum(macs(removed).values()) <= sum(macs(network).values())
            assert network_bytes(network_from_bytes(network_bytes(removed), "memory")) == network_bytes(removed)
            gone[kind] += 1
        assert network_bytes(network) == before
    assert gone[Add] > 50 and gone[Concat] > 40 and refused > 5


def test_a_residual_block_becomes_the_identity() -> None:
    torch.manual_seed(0)
    network = trace(resnet20.build((3, 8, 8), 4, depth=8, width=4), (3, 8, 8))
    add = next(node for node in network.nodes if isinstance(network.get_submodule(node.layer), Add))
    bare = apply(network, drop(add.name, 0))
    assert set(network.weighted()) - set(bare.weighted()) == {"stage1.0.conv1", "stage1.0.conv2"}
    (relu,) = network.consumers(add.name)
    assert next(node for node in bare.nodes if node.name == relu.name).inputs == (add.inputs[1],)


def test_a_concatenation_loses_its_branchs_channels() -> None:
    torch.manual_seed(0)
    network = trace(fire_small.build((3, 8, 8), 4, width=8), (3, 8, 8))
    concat = next(node for node in network.nodes if isinstance(network.get_submodule(node.layer), Concat))
    left, right = (network.shapes()[name][0] for name in concat.inputs)
    bare = apply(network, drop(concat.name, 0))
    assert concat.name not in {node.name for node in bare.nodes}
    narrower = {
        path: layer
        for path, layer in bare.layers()
        if isinstance(layer, nn.Conv2d) and layer.weight.shape != network.layer(path).weight.shape
    }
    assert narrower
    for path, layer in narrower.items():
        assert layer.in_channels == right
        assert torch.equal(layer.weight, network.layer(path).weight[:, left:])


def three_ways() -> Network:
    """Concatenates the image, conv a of it and the image again; b reads the three."""
    torch.manual_seed(1)
    layers: dict[str, nn.Module] = {"a": nn.Conv2d(2, 3, 1), "join": Concat(), "b": nn.Conv2d(7, 2, 1)}
    nodes = (Node("a", "a", (INPUT,)), Node("join", "join", (INPUT, "a", INPUT)), Node("b", "b", ("join",)))
    return Network(nodes, layers, (2, 4, 4)).eval()


def test_of_three_inputs_two_remain_concatenated() -> None:
    network = three_ways()
    bare = apply(network, drop("join", 1))
    assert bare.layer_paths() == ("join", "b")
    assert torch.equal(bare.layer("b").weight, network.layer("b").weight[:, [0, 1, 5, 6]])
    twice = apply(network, Plan("test", (DropBranch("join", 2), DropBranch("join", 1))))
    assert [node.name for node in twice.nodes] == ["b"] and twice.nodes[0].inputs == (INPUT,)


def test_channels_may_go_before_their_branch() -> None:
    network = three_ways()
    bare = apply(network, Plan("test", (KeepChannels("a", (1,)), DropBranch("join", 0))))
    assert torch.equal(bare.layer("b").weight, network.layer("b").weight[:, [3, 5, 6]])


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ((DropBranch("b", 0),), "no addition or concatenation 'b'; the network has 'join'"),
        ((DropBranch("join", 3),), "no input 3 that 'join' can lose; it has 3, counted from 0"),
        (
            (DropBranch("join", 1), DropBranch("join", 0), DropBranch("join", 0)),
            "after edit 2: drop branch 0 of 'join'",
        ),
    ],
)
def test_what_cannot_be_dropped_is_named(edits: tuple[DropBranch, ...], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        apply(three_ways(), Plan("test", edits))
    assert words in str(caught.value)


def test_a_branch_that_reaches_the_output_or_is_added_to_others_stays() -> None:
    layers: dict[str, nn.Module] = {"a": nn.Conv2d(2, 2, 1), "join": Concat(), "c": nn.Conv2d(2, 4, 1), "sum": Add()}
    nodes = (
        Node("a", "a", (INPUT,)),
        Node("join", "join", (INPUT, "a")),
        Node("c", "c", (INPUT,)),
        Node("sum", "sum", ("join", "c")),
    )
    with pytest.raises(PlanError, match="a branch of 'join' cannot go: its channels reach the network's output"):
        without_branch(Network(nodes, layers, (2, 4, 4)), "join", 1)
    behind = (*nodes, Node("head", "head", ("sum",)))
    with pytest.raises(PlanError, match="its channels are tied to those of 'c'"):
        without_branch(Network(behind, {**layers, "head": nn.Conv2d(4, 1, 1)}, (2, 4, 4)), "join", 1)
