from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from camfit.errors import PlanError
from camfit.forms import Codebook, Form, Hashed, Integer, Masked, Sign, attach, form_of, stored_of
from camfit.graph import Graph
from camfit.layers import BinaryConv2d, BinaryLinear, Quantize
from camfit.network import INPUT, Add, Network, Node, Slice
from camfit.plan import Append, Constrain, Edit, Factorise, Insert, KeepChannels, Plan, Remove, Replace, SetValues
from camfit.storage import network_bytes
from camfit.surgery import apply, check, masked
from networks import Allowed, inputs, networks, quantized, random_network, with_forms


def small() -> Network:
    """conv1 (4 channels), norm, relu, conv2 (3), flatten, fc on images of 1 x 4 x 4."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 4, 3, padding=1),
        "norm": nn.BatchNorm2d(4),
        "relu": nn.ReLU(),
        "conv2": nn.Conv2d(4, 3, 3),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(12, 2),
    }
    names = [INPUT, *layers]
    return Network(tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False)), layers, (1, 4, 4)).eval()


def plan(*edits: Edit, method: str = "test") -> Plan:
    return Plan(method, edits)


def random_cut(network: Network, seed: int) -> Plan:
    """Keeps a random part of every group."""
    chosen = random.Random(seed)
    edits = []
    for group in Graph.of(network).groups:
        count = chosen.randint(1, len(group))
        edits.append(KeepChannels(group.name, tuple(sorted(chosen.sample(range(len(group)), count)))))
    return plan(*edits)


def refused(network: Network, bad: Plan) -> str:
    """The error of a plan that must not go through and must leave the network alone."""
    before = network_bytes(network)
    with pytest.raises(PlanError) as caught:
        apply(network, bad)
    with pytest.raises(PlanError) as checked:
        check(network, bad)
    assert str(checked.value) == str(caught.value)
    assert network_bytes(network) == before
    return str(caught.value)


# -- removing channels -----------------------------------------------------------------------------------------


@torch.no_grad()
def assert_removed_is_masked(network: Network, cut: Plan, seed: int) -> None:
    before = network_bytes(network)
    removed, blanked = apply(network, cut), masked(network, cut)
    assert network_bytes(network) == before
    x = inputs(network, seed, count=3)
    assert removed(x).shape == network(x).shape
    torch.testing.assert_close(removed(x), blanked(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(1000))
def test_a_network_without_channels_computes_what_it_does_with_them_masked(seed: int) -> None:
    network = random_network(seed).double()
    if seed % 3 == 0:
        network = with_forms(network, seed, ("dense", "masked", "codebook"))
    assert_removed_is_masked(network, random_cut(network, seed), seed)


@settings(max_examples=40)
@given(networks(), st.integers(0, 1000))
def test_removed_is_masked_for_any_network(network: Network, seed: int) -> None:
    assert_removed_is_masked(network.double(), random_cut(network, seed), seed)


@pytest.mark.parametrize("seed", range(60))
def test_cutting_in_two_steps_is_cutting_at_once(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=True)), seed)
    cut = random_cut(network, seed)
    stepwise = network
    # From the last group on: what leaves a grouped convolution one input a group makes it depth-wise, and its outputs
    # no group of their own.
    for edit in reversed(cut.edits):
        stepwise = apply(stepwise, plan(edit))
    assert network_bytes(stepwise) == network_bytes(apply(network, cut))


def test_every_part_of_a_group_is_cut() -> None:
    network = small()
    cut = apply(network, plan(KeepChannels("conv1", (1, 3)), KeepChannels("conv2", (2,))))
    old, new = dict(network.state_dict()), dict(cut.state_dict())
    assert torch.equal(new["conv1.weight"], old["conv1.weight"][[1, 3]])
    assert torch.equal(new["conv1.bias"], old["conv1.bias"][[1, 3]])
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(new[f"norm.{name}"], old[f"norm.{name}"][[1, 3]])
    assert torch.equal(new["conv2.weight"], old["conv2.weight"][[2]][:, [1, 3]])
    assert torch.equal(new["fc.weight"], old["fc.weight"][:, 8:12])
    widths = [(cut.layer(p).in_channels, cut.layer(p).out_channels) for p in ("conv1", "conv2")]
    assert widths == [(1, 2), (2, 1)]
    assert (cut.layer("norm").num_features, cut.layer("fc").in_features) == (2, 4)


def test_grouped_and_depthwise_convolutions_stay_consistent() -> None:
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 6, 1),
        "grouped": nn.Conv2d(6, 4, 1, groups=2),
        "deep": nn.Conv2d(4, 8, 3, groups=4),
        "head": nn.Conv2d(8, 2, 1),
    }
    names = [INPUT, *layers]
    nodes = tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False))
    network = Network(nodes, layers, (1, 5, 5)).eval()
    cut = apply(network, plan(KeepChannels("conv", (0, 2)), KeepChannels("grouped", (1,))))
    grouped, deep, head = (cut.layer(path) for path in ("grouped", "deep", "head"))
    assert (grouped.in_channels, grouped.out_channels, grouped.groups) == (4, 2, 2)
    assert torch.equal(grouped.weight, layers["grouped"].weight[[1, 3]][:, [0, 2]])
    assert (deep.in_channels, deep.out_channels, deep.groups) == (2, 4, 2)
    assert torch.equal(deep.weight, layers["deep"].weight[[2, 3, 6, 7]])
    assert torch.equal(head.weight, layers["head"].weight[:, [2, 3, 6, 7]])


@pytest.mark.parametrize("places", [10, 11, 12])
def test_groups_of_three_are_cut_around_a_shuffle_whatever_their_size(places: int) -> None:
    """ShuffleNet's bottleneck of 3 groups, whose places 3 does not divide."""
    torch.manual_seed(0)
    width = 3 * places
    layers: dict[str, nn.Module] = {
        "stem": nn.Conv2d(1, 6, 1),
        "compress": nn.Conv2d(6, width, 1, groups=3),
        "relu": nn.ReLU(),
        "shuffle": nn.ChannelShuffle(3),
        "depthwise": nn.Conv2d(width, width, 3, padding=1, groups=width),
        "expand": nn.Conv2d(width, 6, 1, groups=3),
        "head": nn.Conv2d(6, 2, 1),
    }
    names = [INPUT, *layers]
    nodes = tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False))
    network = Network(nodes, layers, (1, 4, 4)).eval().double()
    group = Graph.of(network).group("compress")
    assert len(group) == places // 3 and group.slots[0].width == 9
    assert ("compress" in Graph.of(network).frozen) == (places % 3 > 0)
    for kept in range(1, 1 << len(group)):
        keep = tuple(channel for channel in range(len(group)) if kept >> channel & 1)
        cut = plan(KeepChannels("compress", keep))
        assert_removed_is_masked(network, cut, 0)
        expand = apply(network, cut).layer("expand")
        assert isinstance(expand, nn.Conv2d) and expand.in_channels == width - 9 * (len(group) - len(keep))


def test_slices_move_with_the_channels_before_them() -> None:
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 6, 1), "left": Slice(0, 2), "right": Slice(3, 3), "inner": nn.Conv2d(3, 2, 1),
        "add": Add(), "head": nn.Conv2d(2, 2, 1),
    }  # fmt: skip
    calls = {"conv": (INPUT,), "left": ("conv",), "right": ("conv",), "inner": ("right",), "add": ("left", "inner"),
             "head": ("add",)}  # fmt: skip
    network = Network(tuple(Node(name, name, read) for name, read in calls.items()), layers, (1, 2, 2)).eval()
    groups = {group.name: [at[0] for at in group.slots[0].positions] for group in Graph.of(network).groups}
    assert groups == {"conv": [0, 1], "conv#2": [2], "conv#3": [3, 4, 5]}
    cut = apply(network, plan(KeepChannels("conv", (1,)), KeepChannels("conv#3", (0, 2))))
    left, right = cut.layer("left"), cut.layer("right")
    assert isinstance(left, Slice) and isinstance(right, Slice)
    assert ((left.first, left.count), (right.first, right.count)) == ((0, 1), (2, 2))
    assert layers["right"].extra_repr() == "first=3, count=3"
    assert torch.equal(cut.layer("conv").weight, layers["conv"].weight[[1, 2, 3, 5]])
    assert torch.equal(cut.layer("inner").weight, layers["inner"].weight[[1]][:, [0, 2]])


def test_binary_layers_and_forms_are_cut_with_what_they_store() -> None:
    network = apply(
        small(),
        plan(
            Replace("conv2", BinaryConv2d(4, 3, (3, 3))),
            Constrain("conv2", Sign()),
            Constrain("fc", Codebook(torch.arange(24).reshape(2, 12) % 5 - 1, 4), torch.arange(4.0)),
        ),
    )
    cut = apply(network, plan(KeepChannels("conv1", (0, 2)), KeepChannels("conv2", (1,))))
    binary = cut.layer("conv2")
    assert isinstance(binary, BinaryConv2d) and (binary.in_channels, binary.out_channels) == (2, 1)
    assert torch.equal(stored_of(binary), stored_of(network.layer("conv2"))[[1]][:, [0, 2]])
    form = form_of(cut.layer("fc"))
    assert isinstance(form, Codebook) and form.origin == "test"
    assert torch.equal(form.index, (torch.arange(24).reshape(2, 12) % 5 - 1)[:, 4:8].int())
    with pytest.raises(PlanError, match="'conv2' reads signs"):
        masked(network, plan(KeepChannels("conv1", (0, 2))))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (KeepChannels("conv9", (0,)), "no channel group 'conv9'; the network has 'conv1', 'conv2'"),
        (KeepChannels("fc", (0,)), "no channel group 'fc': its channels reach the network's output"),
        (KeepChannels("conv1", ()), "nothing would remain of 4 channels"),
        (KeepChannels("conv1", (0, 1, 0)), "channel 0 is listed twice"),
        (KeepChannels("conv1", (0, 4)), "no channel 4; the group has channels 0 to 3"),
        (KeepChannels("conv1", (-1,)), "no channel -1; the group has channels 0 to 3"),
    ],
)
def test_a_wrong_choice_of_channels_is_refused(edit: KeepChannels, why: str) -> None:
    message = refused(small(), plan(edit))
    assert f"test, edit 1 ({edit})" in message and why in message


def test_cutting_a_group_twice_in_one_plan_names_both_edits() -> None:
    message = refused(small(), plan(KeepChannels("conv1", (0, 1)), KeepChannels("conv1", (0,))))
    assert "edit 2 (keep 1 channels of group 'conv1')" in message
    assert "after edit 1: keep 2 channels of group 'conv1'" in message


def test_cutting_after_hashing_names_both_sides() -> None:
    hashing = Constrain("conv2", Hashed((3, 4, 3, 3), 10, seed=1), torch.randn(10))
    message = refused(small(), plan(hashing, KeepChannels("conv1", (0,))))
    assert "edit 2 (keep 1 channels of group 'conv1')" in message
    assert "after edit 1: constrain 'conv2' to form hashed" in message
    hashed = apply(small(), plan(hashing, method="hashednets"))
    message = refused(hashed, plan(KeepChannels("conv1", (0,)), method="l1-filters"))
    assert "l1-filters, edit 1 (keep 1 channels of group 'conv1')" in message
    assert "the weight of 'conv2' is hashed by hashednets" in message


def test_only_removed_channels_can_be_masked_instead() -> None:
    with pytest.raises(PlanError, match="remove 'relu'"):
        masked(small(), plan(Remove("relu")))


# -- forms -----------------------------------------------------------------------------------------------------


def test_a_constrained_layer_computes_its_weight_and_remembers_the_method() -> None:
    network = small()
    mask = torch.zeros(4, 1, 3, 3, dtype=torch.bool)
    mask[0] = True
    edit = Constrain("conv1", Masked(mask))
    first, second = apply(network, plan(edit, method="magnitude")), apply(network, plan(edit, method="other"))
    assert torch.equal(first.layer("conv1").weight, network.layer("conv1").weight * mask)
    assert [form_of(n.layer("conv1")).origin for n in (first, second)] == ["magnitude", "other"]
    assert edit.form.origin == ""
    with torch.no_grad():
        stored_of(first.layer("conv1")).zero_()
    assert bool(second.layer("conv1").weight.any()) and bool(network.layer("conv1").weight.any())


def test_a_mask_then_a_codebook_keep_pruned_weights_pruned() -> None:
    mask = torch.rand(2, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    index = torch.where(mask, 1, -1)
    network = apply(small(), plan(Constrain("fc", Masked(mask)), Constrain("fc", Codebook(index, 2), torch.ones(2))))
    assert torch.equal(network.layer("fc").weight, mask.float())
    message = refused(
        apply(small(), plan(Constrain("fc", Masked(mask)), method="magnitude")),
        plan(
            Constrain("fc", Codebook(torch.zeros(2, 12, dtype=torch.int64), 2), torch.ones(2)), method="weight-sharing"
        ),
    )
    assert "form codebook (weight-sharing) cannot follow form masked (magnitude)" in message
    assert f"revive {int((~mask).sum())} pruned weights" in message


BINARY = (Replace("conv2", BinaryConv2d(4, 3, (3, 3))), Constrain("conv2", Sign()))
MASK = Constrain("conv2", Masked(torch.ones(3, 4, 3, 3, dtype=torch.bool)))
SHARE = Constrain("conv2", Codebook(torch.zeros(3, 4, 3, 3, dtype=torch.int64), 2), torch.ones(2))
HASH = Constrain("conv2", Hashed((3, 4, 3, 3), 7, seed=3), torch.ones(7))


@pytest.mark.parametrize("first", [BINARY, (HASH,), (SHARE,), (MASK,)], ids=["binary", "hash", "share", "mask"])
@pytest.mark.parametrize("second", [BINARY, (HASH,), (SHARE,), (MASK,)], ids=["binary", "hash", "share", "mask"])
def test_two_forms_go_together_or_are_refused_by_name(first: tuple[Edit, ...], second: tuple[Edit, ...]) -> None:
    names: dict[tuple[Edit, ...], str] = {BINARY: "sign", (HASH,): "hashed", (SHARE,): "codebook", (MASK,): "masked"}
    together = {
        ("masked", "masked"),
        ("masked", "codebook"),
        ("codebook", "masked"),
        ("codebook", "codebook"),
        ("hashed", "hashed"),
    }
    started = apply(small(), plan(*first, method="first"))
    if (names[first], names[second]) in together:
        assert form_of(apply(started, plan(*second, method="second")).layer("conv2")) is not None
        return
    message = refused(started, plan(*second, method="second"))
    assert message.startswith("second, edit 1") and "first" in message
    within = refused(small(), plan(*first, *second))
    assert f"edit {len(first) + 1} ({second[0]}) (after edit {len(first)}: {first[-1]})" in within


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ((Constrain("relu", Sign()),), "relu has no weight"),
        ((Constrain("conv9", Sign()),), "no layer 'conv9'; the network has conv1, norm"),
        (
            (Constrain("fc", Masked(torch.ones(2, 1, dtype=torch.bool))),),
            "a mask of shape [2, 1], expected the weight's [2, 12]",
        ),
        ((Constrain("fc", Hashed((2, 12), 5, 1)),), "a stored tensor of shape [2, 12], expected [5]"),
        ((Constrain("fc", Hashed((2, 11), 5, 1), torch.ones(5)),), "a weight of shape [2, 11], expected [2, 12]"),
        (
            (Constrain("fc", Codebook(torch.zeros(2, 12), 3), torch.ones(4)),),
            "a stored tensor of shape [4], expected [3]",
        ),
        ((Constrain("fc", Sign(), torch.full((2, 12), torch.nan)),), "not finite"),
        (
            (Replace("conv2", BinaryConv2d(4, 3, (3, 3))),),
            "'conv2' is binary_conv2d but its weight is not in form sign",
        ),
        ((BINARY[0], SHARE), "the layer is binary: its weight must stay in form sign"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(edits: tuple[Edit, ...], why: str) -> None:
    assert why in refused(small(), plan(*edits))


@pytest.mark.parametrize("form", [Codebook(torch.zeros(2, 12), 1), Sign(), Hashed((2, 12), 1, 1)])
def test_values_cannot_be_set_under_a_form_that_computes_them(form: Form) -> None:
    stored: Tensor | None = None if isinstance(form, Sign) else torch.ones(1)
    network = apply(small(), plan(Constrain("fc", form, stored), method="earlier"))
    message = refused(network, plan(SetValues("fc.weight", torch.ones(2, 12))))
    assert f"the weight lives in form {form.name} (earlier)" in message


# -- values and structure --------------------------------------------------------------------------------------


def test_values_are_set_in_place_of_parameters_and_buffers() -> None:
    network = small()
    edits = (SetValues("fc.bias", torch.tensor([1.0, 2.0])), SetValues("norm.running_mean", torch.arange(4.0)))
    changed = apply(network, plan(*edits))
    assert torch.equal(changed.layer("fc").bias, torch.tensor([1.0, 2.0]))
    assert torch.equal(changed.layer("norm").running_mean, torch.arange(4.0))
    assert not torch.equal(network.layer("fc").bias, changed.layer("fc").bias)


def test_values_follow_an_earlier_cut_and_respect_a_mask() -> None:
    cut = plan(KeepChannels("conv2", (0,)), SetValues("fc.weight", torch.ones(2, 4)))
    assert torch.equal(apply(small(), cut).layer("fc").weight, torch.ones(2, 4))
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[:, 0] = True
    pruned = apply(small(), plan(Constrain("fc", Masked(mask)), method="magnitude"))
    assert torch.equal(apply(pruned, plan(SetValues("fc.weight", mask * 3.0))).layer("fc").weight, mask * 3.0)
    assert "revive 22 weights pruned by magnitude" in refused(pruned, plan(SetValues("fc.weight", torch.ones(2, 12))))


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ((SetValues("fc.scale", torch.ones(2)),), "layer 'fc' (linear) has no values 'scale'"),
        ((SetValues("nothing.weight", torch.ones(2)),), "no layer 'nothing'"),
        ((SetValues("fc.bias", torch.ones(3)),), "values of shape [3], expected [2]"),
        ((SetValues("fc.bias", torch.tensor([1.0, torch.inf])),), "some values are not finite"),
        ((SetValues("fc.bias", torch.ones(2)), SetValues("fc.bias", torch.ones(2))), "one plan may set a tensor once"),
        ((Remove("flatten"),), "after its edits the network does not run"),
        ((Remove("relu"), Remove("relu")), "(after edit 1: remove 'relu'): no layer 'relu'"),
        ((Replace("relu", nn.GELU()),), "layer of type GELU: camfit knows"),
        ((Replace("fc", nn.Linear(12, 3)),), "the new layer has 3 output channels, the old one 2"),
        ((Replace("relu", nn.ReLU6()), Replace("relu", nn.ReLU())), "one plan may replace a layer once"),
        ((Insert("fc", "relu", nn.ReLU()),), "the name 'relu' is taken"),
        ((Insert("fc", "conv1.act", nn.ReLU()),), "the name 'conv1.act' is taken"),
        ((Insert("fc", "a..b", nn.ReLU()),), "'a..b' is no path"),
        ((Insert("fc", "extra", nn.Linear(12, 11)),), "after its edits the network does not run"),
        ((Remove("fc"),), "the network's output would be [12], expected [2] as before"),
    ],
)
def test_structure_that_does_not_fit_is_refused(edits: tuple[Edit, ...], why: str) -> None:
    assert why in refused(small(), plan(*edits))


def test_a_weight_cannot_be_binarised_twice() -> None:
    binary = apply(small(), plan(Constrain("fc", Sign()), method="first"))
    message = refused(binary, plan(Constrain("fc", Sign()), method="second"))
    assert message == "second, edit 1 (constrain 'fc' to form sign): its weight is binary already (first)"


def test_replacing_a_constrained_layer_would_lose_its_form() -> None:
    pruned = apply(small(), plan(MASK, method="magnitude"))
    message = refused(pruned, plan(*BINARY, method="xnor-net"))
    assert message.startswith("xnor-net, edit 1 (replace 'conv2'")
    assert "it would discard the form masked (magnitude)" in message


def test_layers_are_inserted_removed_and_replaced() -> None:
    network = small()
    edits = (
        Remove("relu"),
        Insert("conv2", "conv2_relu", nn.ReLU6()),
        Replace("fc", BinaryLinear(12, 2, scale_input=False)),
        Constrain("fc", Sign()),
    )
    changed = apply(network, plan(*edits))
    assert changed.layer_paths() == ("conv1", "norm", "conv2_relu", "conv2", "flatten", "fc")
    assert not changed.training and changed.layer("fc") is not edits[2].by
    x = inputs(network, 0)
    y = changed.layer("conv2")(changed.layer("norm")(network.layer("conv1")(x)).clamp(0, 6))
    torch.testing.assert_close(changed(x), changed.layer("fc")(y.flatten(1)))


def test_a_layer_is_appended_behind_a_call_and_every_reader_reads_it() -> None:
    nodes = (Node("conv", "conv", (INPUT,)), Node("relu", "relu", ("conv",)), Node("conv@2", "conv", ("relu",)),
             Node("add", "add", ("conv", "conv@2")))  # fmt: skip
    network = Network(nodes, {"conv": nn.Conv2d(2, 2, 1), "relu": nn.ReLU(), "add": Add()}, (2, 3, 3)).eval()
    steps, x, conv = Quantize(0.25, 128), inputs(network, 3), network.layer("conv")
    one = steps(conv(x))
    behind = apply(network, plan(Append("conv", "bytes", steps)))
    torch.testing.assert_close(behind(x), one + conv(one.relu()))
    assert behind.layer("bytes") is not steps
    torch.testing.assert_close(apply(network, plan(Append(INPUT, "bytes", steps)))(x), network(steps(x)))
    torch.testing.assert_close(apply(network, plan(Append("add", "bytes", steps)))(x), steps(network(x)))
    second = apply(network, plan(Append("conv@2", "six", nn.ReLU6()), Append("six", "bytes", steps)))
    torch.testing.assert_close(second(x), conv(x) + steps(conv(conv(x).relu()).clamp(0, 6)))


def test_wrong_appends_name_what_there_is() -> None:
    assert "no call 'conv3'; the network has conv1, norm" in refused(small(), plan(Append("conv3", "b", nn.ReLU())))
    assert "the name 'fc' is taken" in refused(small(), plan(Append(INPUT, "fc", nn.ReLU())))
    assert "'' is no path" in refused(small(), plan(Append(INPUT, "", nn.ReLU())))
    assert "layer of type Sigmoid" in refused(small(), plan(Append(INPUT, "odd", nn.Sigmoid())))


def test_channels_are_cut_through_bytes_and_integers() -> None:
    for seed in range(20):
        network = quantized(random_network(seed).double(), seed)
        assert_removed_is_masked(network, random_cut(network, seed), seed)


def test_an_integer_weight_needs_a_scale_for_each_channel() -> None:
    message = refused(small(), plan(Constrain("fc", Integer(torch.ones(3)))))
    assert "form integer with 3 scales, expected 2" in message


def test_a_masked_weight_may_be_replaced_under_its_mask_or_a_smaller_one_alone() -> None:
    third = (torch.arange(108) % 3 > 0).reshape(3, 4, 3, 3)
    pruned = apply(small(), plan(Constrain("conv2", Masked(third)), method="magnitude"))
    form = form_of(pruned.layer("conv2"))
    assert isinstance(form, Masked)

    def twin(mask: Tensor) -> Replace:
        layer = nn.Conv2d(4, 3, 3)
        attach(layer, Masked(mask), torch.ones(3, 4, 3, 3))
        return Replace("conv2", layer)

    fewer = form.mask & (torch.arange(form.mask.numel()) % 2 == 0).reshape(form.mask.shape)
    for mask in (form.mask, fewer):
        weight = apply(pruned, plan(twin(mask))).layer("conv2").weight
        assert torch.equal(weight, mask.float())  # type: ignore[arg-type]
    assert "it would discard the form masked (magnitude)" in refused(pruned, plan(twin(torch.ones(3, 4, 3, 3))))


def test_new_layers_take_the_networks_precision() -> None:
    network = small().double()
    changed = apply(network, plan(Insert("fc", "norm2", nn.BatchNorm1d(12)), SetValues("fc.bias", torch.ones(2))))
    assert {p.dtype for p in changed.parameters()} == {torch.float64}


def test_a_shared_layer_is_inserted_before_and_removed_at_every_call() -> None:
    nodes = (Node("conv", "conv", (INPUT,)), Node("relu", "relu", ("conv",)), Node("conv@2", "conv", ("relu",)),
             Node("relu@2", "relu", ("conv@2",)), Node("add", "add", ("relu@2", "relu")))  # fmt: skip
    network = Network(nodes, {"conv": nn.Conv2d(2, 2, 1), "relu": nn.ReLU(), "add": Add()}, (2, 3, 3)).eval()
    x = inputs(network, 1)
    conv = network.layer("conv")
    removed = apply(network, plan(Remove("relu")))
    torch.testing.assert_close(removed(x), conv(conv(x)) + conv(x))
    clipped = apply(network, plan(Insert("conv", "clip", nn.ReLU6())))
    assert [node.name for node in clipped.nodes if node.layer == "clip"] == ["clip", "clip@2"]
    first = conv(x.clamp(0, 6)).relu()
    torch.testing.assert_close(clipped(x), conv(first.clamp(0, 6)).relu() + first)
    assert "has 2 inputs; expected one" in refused(network, plan(Insert("add", "extra", nn.ReLU())))
    assert "has 2 inputs; expected one" in refused(network, plan(Remove("add")))


def test_a_layer_called_on_its_own_output_is_removed_at_once() -> None:
    nodes = (Node("relu", "relu", (INPUT,)), Node("relu@2", "relu", ("relu",)), Node("conv", "conv", ("relu@2",)))
    network = Network(nodes, {"relu": nn.ReLU(), "conv": nn.Conv2d(1, 2, 1)}, (1, 3, 3)).eval()
    assert apply(network, plan(Remove("relu"))).nodes == (Node("conv", "conv", (INPUT,)),)


def test_the_last_layer_can_go_when_the_output_keeps_its_shape() -> None:
    network = small()
    nodes = (*network.nodes, Node("softmax", "softmax", ("fc",)))
    with_softmax = network.with_nodes(nodes, {"softmax": nn.Softmax(1)})
    x = inputs(network, 2)
    torch.testing.assert_close(apply(with_softmax, plan(Remove("softmax")))(x), network(x))


def test_a_chain_takes_a_layers_place_at_every_call() -> None:
    nodes = (Node("conv", "conv", (INPUT,)), Node("relu", "relu", ("conv",)), Node("conv@2", "conv", ("relu",)),
             Node("add", "add", ("conv", "conv@2")))  # fmt: skip
    network = Network(nodes, {"conv": nn.Conv2d(2, 2, 1), "relu": nn.ReLU(), "add": Add()}, (2, 3, 3)).eval()
    down, up = nn.Conv2d(2, 1, 1), nn.Conv2d(1, 2, 1)
    done = apply(network, plan(Factorise("conv", (("down", down), ("up", up)))))
    assert done.layer_paths() == ("conv.down", "conv.up", "relu", "add")
    assert [node.name for node in done.calls("conv.up")] == ["conv.up", "conv.up@2"]
    assert done.layer("conv.up") is not up and not done.training
    x = inputs(network, 0)
    first = up(down(x))
    torch.testing.assert_close(done(x), first + up(down(first.relu())))
    again = apply(done, plan(Factorise("conv.up", (("a", up), ("b", nn.ReLU())))))
    assert again.layer_paths() == ("conv.down", "conv.up.a", "conv.up.b", "relu", "add")


def test_the_last_layer_may_become_a_chain() -> None:
    network = small()
    chain = (("down", nn.Linear(12, 1)), ("up", nn.Linear(1, 2)))
    done = apply(network, plan(Factorise("fc", chain)))
    x = inputs(network, 0)
    before = network.values(x)["flatten"]
    torch.testing.assert_close(done(x), chain[1][1](chain[0][1](before)))


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ((Factorise("fc", ()),), "it names no factors"),
        ((Factorise("fc", (("a", nn.Linear(11, 2)),)),), "the new layer has 11 input channels, the old one 12"),
        ((Factorise("fc", (("a", nn.Linear(12, 3)),)),), "the new layer has 3 output channels, the old one 2"),
        ((Factorise("fc", (("a", nn.Linear(12, 1)), ("b", nn.Linear(4, 2)))),), "the network does not run"),
        ((Factorise("fc", (("a", nn.Linear(12, 1)), ("a", nn.Linear(1, 2)))),), "the factors are called 'a', 'a'"),
        ((Factorise("fc", (("a.b", nn.Linear(12, 2)),)),), "expected different names without dots"),
        ((Factorise("fc", (("a", nn.Linear(12, 1)), ("b", nn.Sigmoid()))),), "layer of type Sigmoid: camfit knows"),
        (
            (Factorise("fc", (("a", nn.Linear(12, 2)),)), SetValues("fc.bias", torch.ones(2))),
            "(after edit 1: factorise",
        ),
        (
            (Constrain("fc", Sign()), Factorise("fc", (("a", nn.Linear(12, 2)),))),
            "it would discard the form sign (test)",
        ),
    ],
)
def test_a_chain_that_does_not_fit_is_refused(edits: tuple[Edit, ...], why: str) -> None:
    assert why in refused(small(), plan(*edits))


def test_a_layer_of_two_inputs_becomes_no_chain() -> None:
    network = Network((Node("add", "add", (INPUT, INPUT)),), {"add": Add()}, (2, 3, 3))
    assert "the layer has 2 inputs; expected one" in refused(network, plan(Factorise("add", (("a", nn.ReLU()),))))


def test_an_empty_plan_gives_an_equal_network_that_shares_nothing() -> None:
    network = with_forms(random_network(5), 5)
    copy = apply(network, plan())
    assert network_bytes(copy) == network_bytes(network)
    assert not {p.data_ptr() for p in copy.parameters()} & {p.data_ptr() for p in network.parameters()}
