"""Where bytes are made: behind the fused activation, where an integer layer reads them, one scale for what meets."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from camfit.methods.precision.placement import Placement
from camfit.network import INPUT, Add, Concat, Network, Node
from methods.chain import chain


def joined(layers: dict[str, nn.Module], *nodes: tuple[str, str]) -> Network:
    """Nodes called like their layers; their inputs as words."""
    made = tuple(Node(name, name.split("@")[0], tuple(sources.split())) for name, sources in nodes)
    return Network(made, layers, (2, 4, 4)).eval()


def groups(network: Network, integers: Collection[str] | None = None) -> tuple[tuple[str, ...], ...]:
    return Placement(network, list(network.weighted()) if integers is None else integers).groups


def conv() -> nn.Module:
    return nn.Conv2d(2, 2, 1)


def test_behind_the_fused_activation_and_nothing_behind_the_last_layer() -> None:
    network = chain(
        (2, 4, 4), a=conv(), drop=nn.Dropout(), relu=nn.ReLU(), pool=nn.MaxPool2d(2), b=conv(), six=nn.ReLU6(),
        flatten=nn.Flatten(), fc=nn.Linear(8, 3), softmax=nn.Softmax(1),
    )  # fmt: skip
    assert groups(network) == ((INPUT,), ("relu",), ("six",))


def test_a_value_with_other_readers_becomes_bytes_itself() -> None:
    """The activation reads bytes then, and keeps their scale."""
    layers = {"a": conv(), "relu": nn.ReLU(), "b": conv(), "add": Add(), "c": conv()}
    network = joined(layers, ("a", INPUT), ("relu", "a"), ("b", "relu"), ("add", "a b"), ("c", "add"))
    assert groups(network) == ((INPUT,), ("a",), ("b",), ("add",))


def test_sums_and_averages_that_nobody_reads_as_bytes_stay_float_with_their_inputs() -> None:
    layers: dict[str, nn.Module] = {"a": conv(), "b": conv(), "add": Add(), "relu": nn.ReLU()}
    nodes = (("a", INPUT), ("b", "a"), ("add", "a b"), ("relu", "add"))
    assert groups(joined(layers, *nodes)) == ((INPUT,), ("a",)), "b's and the sum's values are the output's"
    layers |= {"mean": nn.AdaptiveAvgPool2d(1)}
    assert groups(joined(layers, *nodes, ("mean", "relu"))) == ((INPUT,), ("a",))
    layers |= {"c": conv()}
    assert groups(joined(layers, *nodes, ("mean", "relu"), ("c", "mean"))) == (
        (INPUT,), ("a",), ("b",), ("relu",), ("mean",)
    )  # fmt: skip


def test_what_meets_in_a_concatenation_has_one_scale_through_whatever_keeps_it() -> None:
    layers: dict[str, nn.Module] = {
        "a": conv(), "b": conv(), "c": conv(), "pool": nn.MaxPool2d(1), "one": Concat(), "two": Concat(),
        "shuffle": nn.ChannelShuffle(2), "last": nn.Conv2d(6, 1, 1), "side": nn.Conv2d(4, 1, 1),
    }  # fmt: skip
    network = joined(
        layers, ("a", INPUT), ("b", "a"), ("pool", "b"), ("one", "a pool"), ("shuffle", "one"), ("c", "b"),
        ("two", "shuffle c"), ("side", "one"), ("last", "two"),
    )  # fmt: skip
    assert groups(network) == ((INPUT,), ("a", "b", "c"))


def test_a_concatenation_of_floats_ties_nothing() -> None:
    layers: dict[str, nn.Module] = {"a": conv(), "b": conv(), "cat": Concat()}
    assert groups(joined(layers, ("a", INPUT), ("b", "a"), ("cat", "a b"))) == ((INPUT,), ("a",))


def test_the_input_may_meet_others() -> None:
    layers: dict[str, nn.Module] = {"a": conv(), "cat": Concat(), "b": nn.Conv2d(4, 1, 1)}
    assert groups(joined(layers, ("a", INPUT), ("cat", f"a {INPUT}"), ("b", "cat"))) == ((INPUT, "a"),)


def test_float_layers_and_their_neighbours_make_no_bytes() -> None:
    network = chain((2, 4, 4), a=conv(), r1=nn.ReLU(), b=conv(), r2=nn.ReLU(), c=conv(), r3=nn.ReLU(), d=conv())
    assert groups(network, ["a", "b", "c", "d"]) == ((INPUT,), ("r1",), ("r2",), ("r3",))
    assert groups(network, ["b"]) == (("r1",),)
    assert groups(network, ["a", "d"]) == ((INPUT,), ("r3",))
    assert groups(network, []) == ()


def test_a_norm_that_stays_is_a_float_layer() -> None:
    network = chain((2, 4, 4), a=conv(), pool=nn.MaxPool2d(1), norm=nn.BatchNorm2d(2), relu=nn.ReLU(), b=conv())
    assert groups(network) == ((INPUT,), ("relu",))


def test_calls_of_a_shared_layer_have_scales_of_their_own() -> None:
    layers = {"a": conv(), "relu": nn.ReLU(), "fc": conv()}
    network = joined(layers, ("a", INPUT), ("relu", "a"), ("a@2", "relu"), ("relu@2", "a@2"), ("fc", "relu@2"))
    found = Placement(network, ["a", "fc"])
    assert found.groups == ((INPUT,), ("relu",), ("relu@2",))
    assert found.origins["a@2"] == {"a@2"} and found.origins["relu@2"] == {"relu@2"}
