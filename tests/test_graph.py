from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.errors import PlanError
from camfit.forms import Hashed, attach
from camfit.graph import Graph
from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Node, Slice
from camfit.storage import network_bytes
from networks import random_network, with_forms


def build(shape: tuple[int, ...], *calls: tuple[str, nn.Module | None, tuple[str, ...]]) -> Network:
    """A network of (node, its layer, inputs); the layer of ``a@2`` is ``a``'s, given as None."""
    layers = {name: layer for name, layer, _ in calls if layer is not None}
    return Network(tuple(Node(name, name.split("@")[0], inputs) for name, _, inputs in calls), layers, shape)


def slots(graph: Graph, group: str) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {f"{slot.layer}.{slot.dimension}": slot.positions for slot in graph.group(group).slots}


def test_a_chain_ties_producer_norm_and_reader_and_flatten_repeats_each_channel() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 3, 3, padding=1), (INPUT,)),
            ("norm", nn.BatchNorm2d(3), ("conv",)),
            ("relu", nn.ReLU(), ("norm",)),
            ("pool", nn.MaxPool2d(2), ("relu",)),
            ("flatten", nn.Flatten(), ("pool",)),
            ("fc", nn.Linear(12, 2), ("flatten",)),
        )
    )
    assert [group.name for group in graph.groups] == ["conv"]
    assert slots(graph, "conv") == {
        "conv.out": ((0,), (1,), (2,)),
        "norm.out": ((0,), (1,), (2,)),
        "fc.in": ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)),
    }
    assert graph.shapes["flatten"] == (12,)
    assert str(graph.groups[0]) == "group 'conv': 3 channels at conv.out, norm.out, fc.in ×4"
    assert graph.frozen_reasons == {"fc": "its channels reach the network's output"}
    assert str(graph).splitlines()[1] == "frozen 'fc': its channels reach the network's output"


def test_an_addition_ties_both_sides_into_one_group_named_after_the_first_producer() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("stem", nn.Conv2d(1, 2, 1), (INPUT,)),
            ("inner", nn.Conv2d(2, 5, 1), ("stem",)),
            ("outer", nn.Conv2d(5, 2, 1), ("inner",)),
            ("add", Add(), ("outer", "stem")),
            ("head", nn.Conv2d(2, 3, 1), ("add",)),
        )
    )
    assert [(group.name, len(group)) for group in graph.groups] == [("stem", 2), ("inner", 5)]
    assert list(slots(graph, "stem")) == ["stem.out", "inner.in", "outer.out", "head.in"]
    assert [slot.layer for slot in graph.group("stem").producers] == ["stem", "outer"]
    assert [group.name for group in graph.groups_of("outer")] == ["stem"]


def test_a_concatenation_keeps_its_parts_separate_at_shifted_places() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("a", nn.Conv2d(1, 2, 1), (INPUT,)),
            ("b", nn.Conv2d(1, 3, 1), (INPUT,)),
            ("concat", Concat(), ("a", "b")),
            ("head", nn.Conv2d(5, 2, 1), ("concat",)),
        )
    )
    assert slots(graph, "a") == {"a.out": ((0,), (1,)), "head.in": ((0,), (1,))}
    assert slots(graph, "b") == {"b.out": ((0,), (1,), (2,)), "head.in": ((2,), (3,), (4,))}


def test_a_layer_added_to_a_concatenation_falls_into_a_group_for_each_part() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("whole", nn.Conv2d(1, 5, 1), (INPUT,)),
            ("a", nn.Conv2d(1, 2, 1), (INPUT,)),
            ("b", nn.Conv2d(1, 3, 1), (INPUT,)),
            ("concat", Concat(), ("a", "b")),
            ("add", Add(), ("whole", "concat")),
            ("head", nn.Conv2d(5, 2, 1), ("add",)),
        )
    )
    assert [(group.name, len(group)) for group in graph.groups] == [("whole", 2), ("whole#2", 3)]
    assert slots(graph, "whole#2") == {
        "whole.out": ((2,), (3,), (4,)),
        "b.out": ((0,), (1,), (2,)),
        "head.in": ((2,), (3,), (4,)),
    }


def test_a_depthwise_convolution_ties_each_input_to_its_outputs() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 3, 1), (INPUT,)),
            ("deep", nn.Conv2d(3, 6, 3, groups=3), ("conv",)),
            ("point", nn.Conv2d(6, 4, 1), ("deep",)),
            ("head", nn.Conv2d(4, 2, 1), ("point",)),
        )
    )
    assert [group.name for group in graph.groups] == ["conv", "point"]
    assert slots(graph, "conv") == {
        "conv.out": ((0,), (1,), (2,)),
        "deep.in": ((0,), (1,), (2,)),
        "deep.out": ((0, 1), (2, 3), (4, 5)),
        "point.in": ((0, 1), (2, 3), (4, 5)),
    }


def test_a_grouped_convolution_couples_equal_places_of_its_groups() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 4, 1), (INPUT,)),
            ("grouped", nn.Conv2d(4, 6, 1, groups=2), ("conv",)),
            ("head", nn.Conv2d(6, 2, 1), ("grouped",)),
        )
    )
    assert slots(graph, "conv") == {"conv.out": ((0, 2), (1, 3)), "grouped.in": ((0, 2), (1, 3))}
    assert slots(graph, "grouped") == {
        "grouped.out": ((0, 3), (1, 4), (2, 5)),
        "head.in": ((0, 3), (1, 4), (2, 5)),
    }


def test_a_channel_shuffle_couples_equal_places_of_its_groups_and_moves_them_side_by_side() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 6, 1), (INPUT,)),
            ("shuffle", nn.ChannelShuffle(2), ("conv",)),
            ("norm", nn.BatchNorm2d(6), ("shuffle",)),
            ("head", nn.Conv2d(6, 2, 1), ("norm",)),
        )
    )
    assert slots(graph, "conv") == {
        "conv.out": ((0, 3), (1, 4), (2, 5)),
        "norm.out": ((0, 1), (2, 3), (4, 5)),
        "head.in": ((0, 1), (2, 3), (4, 5)),
    }


def test_grouped_convolutions_around_a_shuffle_are_cut_in_what_all_their_groups_share() -> None:
    def around(places: int) -> Graph:
        return Graph.of(
            build(
                (1, 4, 4),
                ("conv", nn.Conv2d(1, 4, 1), (INPUT,)),
                ("first", nn.Conv2d(4, 2 * places, 1, groups=2), ("conv",)),
                ("shuffle", nn.ChannelShuffle(2), ("first",)),
                ("second", nn.Conv2d(2 * places, 4, 1, groups=2), ("shuffle",)),
                ("head", nn.Conv2d(4, 2, 1), ("second",)),
            )
        )

    # The second convolution's groups read places (0, 1) and (2, 3) of the first: 0 goes with 2, 1 with 3.
    assert slots(around(4), "first") == {
        "first.out": ((0, 2, 4, 6), (1, 3, 5, 7)),
        "second.in": ((0, 1, 4, 5), (2, 3, 6, 7)),
    }
    # Five places do not share evenly among two groups: rounds of turns 0, 1 are counted from the start of each of the
    # second convolution's groups, 0 1 0 1 (0) and 1 0 1 0 (1), and the last turn of each stays.
    odd = around(5)
    assert slots(odd, "first") == {
        "first.out": ((0, 3, 5, 7), (1, 4, 6, 8)),
        "second.in": ((0, 1, 5, 6), (2, 3, 7, 8)),
    }
    frozen = odd.frozen["first"]
    assert frozen.cause == "shuffle"
    assert frozen.reason == (
        "the channel shuffle 'shuffle' takes turns among 2 groups, and 5 channels for each group of 'second' are no whole "
        "rounds: the last 1 stay (2 of 10 channels)"
    )


def test_a_shuffle_whose_groups_are_larger_than_the_next_layers_ties_everything() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 6, 1), (INPUT,)),
            ("shuffle", nn.ChannelShuffle(3), ("conv",)),
            ("second", nn.Conv2d(6, 6, 1, groups=3), ("shuffle",)),
            ("head", nn.Conv2d(6, 2, 1), ("second",)),
        )
    )
    frozen = graph.frozen["conv"]
    assert frozen.cause == "shuffle"
    assert frozen.reason == (
        "the channel shuffle 'shuffle' and the layers around it tie all 6 channels to each other, so that none can go "
        "alone"
    )


def test_a_shuffle_of_one_group_or_of_single_places_ties_nothing() -> None:
    for groups in (1, 3):
        graph = Graph.of(
            build(
                (1, 4, 4),
                ("conv", nn.Conv2d(1, 3, 1), (INPUT,)),
                ("shuffle", nn.ChannelShuffle(groups), ("conv",)),
                ("head", nn.Conv2d(3, 2, 1), ("shuffle",)),
            )
        )
        assert slots(graph, "conv") == {"conv.out": ((0,), (1,), (2,)), "head.in": ((0,), (1,), (2,))}


def test_slices_split_a_layer_into_a_group_for_what_each_leaves_out_and_takes() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 5, 1), (INPUT,)),
            ("left", Slice(0, 2), ("conv",)),
            ("right", Slice(2, 2), ("conv",)),
            ("inner", nn.Conv2d(2, 2, 1), ("right",)),
            ("concat", Concat(), ("left", "inner")),
            ("head", nn.Conv2d(4, 2, 1), ("concat",)),
        )
    )
    # The last channel of "conv" is read by nobody.
    assert [(group.name, len(group)) for group in graph.groups] == [
        ("conv", 1),
        ("conv#2", 2),
        ("conv#3", 2),
        ("inner", 2),
    ]
    assert slots(graph, "conv") == {"conv.out": ((4,),)}
    assert slots(graph, "conv#2") == {
        "conv.out": ((0,), (1,)),
        "left.within": ((0,), (1,)),
        "right.before": ((0,), (1,)),
        "head.in": ((0,), (1,)),
    }
    assert slots(graph, "conv#3") == {
        "conv.out": ((2,), (3,)),
        "right.within": ((0,), (1,)),
        "inner.in": ((0,), (1,)),
    }
    assert [slot.layer for slot in graph.group("conv#2").consumers] == ["head"]


def test_depth_to_space_ties_the_channels_of_a_block() -> None:
    graph = Graph.of(
        build(
            (1, 4, 4),
            ("conv", nn.Conv2d(1, 6, 1), (INPUT,)),
            ("pixels", DepthToSpace((1, 2)), ("conv",)),
            ("norm", nn.BatchNorm2d(3), ("pixels",)),
            ("head", nn.Conv2d(3, 2, 1), ("norm",)),
        )
    )
    assert slots(graph, "conv") == {
        "conv.out": ((0, 1), (2, 3), (4, 5)),
        "norm.out": ((0,), (1,), (2,)),
        "head.in": ((0,), (1,), (2,)),
    }


def test_a_shared_layer_ties_its_calls() -> None:
    graph = Graph.of(
        build(
            (2, 4, 4),
            ("left", nn.Conv2d(2, 3, 1), (INPUT,)),
            ("right", nn.Conv2d(2, 3, 1), (INPUT,)),
            ("shared", nn.Conv2d(3, 4, 1), ("left",)),
            ("shared@2", None, ("right",)),
            ("concat", Concat(), ("shared", "shared@2")),
            ("head", nn.Conv2d(8, 2, 1), ("concat",)),
        )
    )
    assert list(slots(graph, "left")) == ["left.out", "right.out", "shared.in"]
    assert slots(graph, "shared") == {
        "shared.out": ((0,), (1,), (2,), (3,)),
        "head.in": ((0, 4), (1, 5), (2, 6), (3, 7)),
    }


def test_what_touches_the_image_a_softmax_or_a_hash_is_frozen_with_its_reason() -> None:
    network = build(
        (2, 1, 1),
        ("deep", nn.Conv2d(2, 2, 1, groups=2), (INPUT,)),
        ("side", nn.Conv2d(2, 3, 1), (INPUT,)),
        ("concat", Concat(), (INPUT, "side")),
        ("whole", nn.Conv2d(2, 5, 1), ("deep",)),
        ("add", Add(), ("concat", "whole")),
        ("flatten", nn.Flatten(), ("add",)),
        ("fc1", nn.Linear(5, 4), ("flatten",)),
        ("softmax", nn.Softmax(1), ("fc1",)),
        ("fc2", nn.Linear(4, 6), ("softmax",)),
        ("fc3", nn.Linear(6, 3), ("fc2",)),
    )
    form = Hashed((3, 6), 5, seed=1)
    form.origin = "hashednets"
    attach(network.layer("fc3"), form, torch.ones(5))
    graph = Graph.of(network)
    assert graph.frozen_reasons == {
        "deep": "its channels are tied to the network's input",
        "whole": "its channels are tied to the network's input (2 of 5 channels)",
        "fc1": "its channels reach the soft-max 'softmax'",
        "fc2": "the weight of 'fc3' is hashed by hashednets, and its values hang on their positions",
        "fc3": "its channels reach the network's output",
    }
    assert [(group.name, len(group)) for group in graph.groups] == [("side", 3)]
    with pytest.raises(PlanError, match="no channel group 'fc2': the weight of 'fc3' is hashed by hashednets"):
        graph.group("fc2")
    with pytest.raises(PlanError, match="no channel group 'nothing'; the network has 'side'"):
        graph.group("nothing")


@pytest.mark.parametrize("seed", range(60))
def test_groups_partition_the_channels_that_are_not_frozen(seed: int) -> None:
    network = with_forms(random_network(seed), seed)
    before = network_bytes(network)
    graph = Graph.of(network)
    assert network_bytes(network) == before
    places: dict[tuple[str, str], list[int]] = {}
    for group in graph.groups:
        assert len(group) >= 1
        for slot in group.slots:
            assert len(slot.positions) == len(group)
            assert {len(positions) for positions in slot.positions} == {slot.width}
            places.setdefault((slot.layer, slot.dimension), []).extend(p for each in slot.positions for p in each)
    assert len({group.name for group in graph.groups}) == len(graph.groups)
    for path, layer in network.layers():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.BatchNorm1d):
            found = places.get((path, "out"), [])
            count = layer.bias.numel() if isinstance(layer.bias, torch.Tensor) else layer.weight.shape[0]
            assert len(found) == len(set(found)) <= count
            assert (len(found) < count) == (path in graph.frozen)


def test_looking_at_a_network_keeps_each_layers_mode() -> None:
    network = random_network(3).train()
    for _, layer in network.layers():
        layer.training = isinstance(layer, nn.BatchNorm2d)
    modes = [module.training for module in network.modules()]
    Graph.of(network)
    assert [module.training for module in network.modules()] == modes
