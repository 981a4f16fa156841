from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.layers import LAYERS, build, describe, kind_of
from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Node, Slice
from networks import inputs, random_network


def residual() -> Network:
    """conv called twice, the sum of both calls and the input beside it: channels 2 + 2."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "body.conv": nn.Conv2d(2, 2, 3, padding=1),
        "relu": nn.ReLU(),
        "add": Add(),
        "cat": Concat(),
    }
    nodes = (
        Node("a", "body.conv", (INPUT,)),
        Node("b", "relu", ("a",)),
        Node("c", "body.conv", ("b",)),
        Node("d", "add", ("c", "a")),
        Node("e", "cat", ("d", INPUT)),
    )
    return Network(nodes, layers, (2, 4, 4)).eval()


def test_nodes_run_in_order_on_the_values_that_they_name() -> None:
    network, x = residual(), torch.randn(3, 2, 4, 4)
    conv = network.layer("body.conv")
    with torch.no_grad():
        a = conv(x)
        c = conv(a.relu())
        assert torch.equal(network(x), torch.cat([c + a, x], 1))
        values = network.values(x)
    assert list(values) == [INPUT, "a", "b", "c", "d", "e"]
    assert torch.equal(values["c"], c) and torch.equal(values[INPUT], x)


def test_the_graph_answers_who_calls_and_who_reads() -> None:
    network = residual()
    assert network.layer_paths() == ("body.conv", "relu", "add", "cat")
    assert [path for path, _ in network.layers()] == ["body.conv", "relu", "add", "cat"]
    assert [node.name for node in network.calls("body.conv")] == ["a", "c"]
    assert [node.name for node in network.consumers("a")] == ["b", "d"]
    assert [node.name for node in network.consumers(INPUT)] == ["a", "e"]
    assert list(network.weighted()) == ["body.conv"]
    # A shared layer's parameters are there once.
    assert sorted(network.state_dict()) == ["body.conv.bias", "body.conv.weight"]


def test_shapes_are_those_of_the_values_for_one_image() -> None:
    network = residual()
    assert network.shapes() == {
        INPUT: (2, 4, 4),
        "a": (2, 4, 4),
        "b": (2, 4, 4),
        "c": (2, 4, 4),
        "d": (2, 4, 4),
        "e": (4, 4, 4),
    }
    for seed in range(20):
        network = random_network(seed)
        values = network.values(inputs(network, seed))
        assert network.shapes() == {name: tuple(value.shape[1:]) for name, value in values.items()}


def test_shapes_leave_statistics_and_modes_alone() -> None:
    layers: dict[str, nn.Module] = {"norm": nn.BatchNorm2d(2), "drop": nn.Dropout(0.5), "odd": nn.Sigmoid()}
    names = [INPUT, *layers]
    network = Network(tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False)), layers, (2, 4, 4)).train()
    layers["drop"].eval()
    assert network.shapes()["odd"] == (2, 4, 4)
    assert [network.training, *(layer.training for layer in layers.values())] == [True, True, False, True]
    assert int(layers["norm"].num_batches_tracked) == 0  # type: ignore[arg-type]


POOLS = [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 3, 1, ceil_mode=True),
    nn.AvgPool2d((2, 3), (1, 2), (0, 1)), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS)
def test_shapes_of_pools_are_torchs_at_every_size(pool: nn.Module) -> None:
    for height in range(3, 12):
        shape = (2, height, 14 - height)
        network = Network((Node("pool", "pool", (INPUT,)),), {"pool": pool}, shape)
        assert network.shapes()["pool"] == tuple(pool(torch.zeros(1, *shape)).shape[1:])


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            nn.Conv2d(3, 2, 1),
            (2, 4, 4),
            r"layer 'it' reads a value of shape \[2, 4, 4\]; it expects an image of 3 channels",
        ),
        (nn.Conv2d(2, 2, 3, dilation=2), (2, 4, 9), "at least 5 pixels along each side, padding included"),
        (nn.Conv2d(2, 2, 1), (2,), "an image of 2 channels"),
        (nn.Linear(2, 2), (2, 4, 2), r"it expects \[2\]"),
        (nn.BatchNorm2d(3), (2, 4, 4), "3 channels, images"),
        (nn.BatchNorm1d(2), (2, 4, 4), "2 channels, vectors"),
        (nn.MaxPool2d(3), (2, 2, 4), "at least 3 pixels"),
        (nn.AdaptiveAvgPool2d(1), (2,), "an image"),
        (Slice(1, 2), (2, 4, 4), r"more channels for Slice\(first=1, count=2\)"),
        (DepthToSpace((2, 2)), (2, 4, 4), "channels in blocks of 2 x 2"),
        (DepthToSpace((1, 2), (0, 4, 0, 4)), (2, 4, 4), "more pixels than"),
    ],
)
def test_a_value_that_does_not_fit_its_layer_is_named(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Network((Node("it", "it", (INPUT,)),), {"it": layer}, shape).shapes()


def test_values_that_do_not_meet_are_named() -> None:
    for join, message in (
        (Add(), r"expects \[2, 4, 4\], as its other input"),
        (Concat(), "the size of its first input"),
    ):
        nodes = (Node("pool", "pool", (INPUT,)), Node("join", "join", (INPUT, "pool")))
        with pytest.raises(ModelError, match=f"layer 'join' reads a value of shape .*{message}"):
            Network(nodes, {"pool": nn.MaxPool2d(2), "join": join}, (2, 4, 4)).shapes()


def test_a_clone_shares_nothing() -> None:
    network = residual()
    clone = network.clone()
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.zero_()
    assert all(bool(parameter.any()) for parameter in network.parameters())
    assert clone.nodes == network.nodes and clone.input_shape == network.input_shape


def test_rejoined_nodes_keep_the_layers_and_the_mode() -> None:
    network = residual().train()
    relu6 = nn.ReLU6()
    joined = network.with_nodes(network.nodes[:2], {"relu": relu6})
    assert joined.layer_paths() == ("body.conv", "relu")
    assert joined.layer("relu") is relu6 and joined.layer("body.conv") is network.layer("body.conv")
    assert joined.training


def test_layers_may_carry_any_name() -> None:
    names = ["layers", "values", "nodes", "forward", "input_shape", "calls", "weight"]
    layers: dict[str, nn.Module] = {name: nn.Linear(2, 2) for name in names}
    chain = [INPUT, *names]
    network = Network(tuple(Node(b, b, (a,)) for a, b in zip(chain, names, strict=False)), layers, (2,)).eval()
    x: Tensor = torch.randn(3, 2)
    expected = x
    for name in names:
        expected = layers[name](expected)
    assert torch.equal(network(x), expected)
    assert torch.equal(network.clone()(x), expected)
    assert sorted(network.state_dict()) == sorted(f"{name}.{leaf}" for name in names for leaf in ("bias", "weight"))
    assert dict(network.layers()) == layers


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((Node("a", "relu", ("b",)), Node("b", "relu", (INPUT,))), r"node 'a' .* unknown inputs \['b'\]"),
        ((Node("a", "conv", (INPUT,)),), r"node 'a' \(layer 'conv'\)"),
        ((Node("a", "relu", (INPUT,)), Node("a", "relu", ("a",))), "node 'a' .* its name must be new"),
        ((Node(INPUT, "relu", (INPUT,)),), "node 'input' .* its name must be new"),
    ],
)
def test_nodes_read_earlier_nodes_under_names_of_their_own(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Network(nodes, {"relu": nn.ReLU()}, (1,))


def test_layers_stand_side_by_side() -> None:
    nodes = (Node("a", "block", (INPUT,)), Node("b", "block.relu", ("a",)))
    with pytest.raises(ModelError, match="layer 'block.relu' lies inside layer 'block'"):
        Network(nodes, {"block": nn.ReLU(), "block.relu": nn.ReLU()}, (1,))


def test_an_unknown_layer_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ModelError, match="no layer 'conv'; the network has body.conv, relu, add, cat"):
        residual().layer("conv")
    # A module on the way to a layer is none.
    with pytest.raises(ModelError, match="no layer 'body'"):
        residual().layer("body")


# -- the table of layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_a_layer_is_its_kind_and_arguments(seed: int) -> None:
    for _, layer in random_network(seed).layers():
        kind, arguments = describe(layer)
        twin = build(kind, arguments)
        assert describe(twin) == (kind, arguments)
        assert repr(twin) == repr(layer)
        twin.load_state_dict(layer.state_dict())


def test_every_kind_is_known_by_itself_and_not_by_its_parent() -> None:
    assert [kind_of(kind.module.__new__(kind.module)) for kind in LAYERS.values()] == list(LAYERS)


def test_other_modules_are_refused() -> None:
    with pytest.raises(ModelError, match="layer of type Sigmoid: camfit knows .*conv2d"):
        kind_of(nn.Sigmoid())
    with pytest.raises(ModelError, match="layer kind 'sigmoid': expected one of .*conv2d"):
        build("sigmoid", {})
