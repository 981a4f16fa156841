from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from camfit import zoo
from camfit.errors import ModelError
from camfit.network import Network
from camfit.trace import load_exported, trace
from camfit.zoo import resnet20
from networks import inputs, networks, plain

Forward = Callable[[Tensor], Tensor]


class After(nn.Module):
    """A convolution to 4 channels of 6 x 6, and then whatever is to be traced."""

    def __init__(self, then: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x))


SHAPE = (1, 8, 8)


@torch.no_grad()
def traced(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> Network:
    """The model's network, which computes the same on batches of 1 and 3."""
    network = trace(model, shape)
    model.eval()
    for batch in (1, 3):
        images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        assert torch.equal(network(images.clone()), model(images.clone()))
    return network


def kinds(network: Network) -> list[str]:
    return [type(network.get_submodule(node.layer)).__name__ for node in network.nodes]


# -- models as people write them -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(networks())
def test_any_network_written_as_a_module_is_traced_back(network: Network) -> None:
    model = plain(network)
    found = trace(model, network.input_shape)
    images = inputs(network, 0)
    with torch.no_grad():
        torch.testing.assert_close(found(images), network(images), rtol=0, atol=0)
    assert len(found.nodes) == len(network.nodes)


@pytest.mark.parametrize("name", ["digits_cnn", "lenet5", "resnet20", "mobilenet_v1_025", "fire_small"])
def test_state_dict_names_stay(name: str) -> None:
    model, shape = zoo.build(name, (1, 28, 28), 10), (1, 28, 28)
    network = traced(model, shape)
    found, expected = network.state_dict(), model.state_dict()
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_traced_network_shares_nothing_with_the_model() -> None:
    model = After(F.relu)
    network = traced(model)
    with torch.no_grad():
        model.conv.weight.zero_()
    assert bool(network.get_submodule("conv").weight.any())  # type: ignore[operator, union-attr]


def test_names_of_a_models_own_do_not_clash() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
            self.values = nn.Conv2d(2, 2, 1)
            self.input = nn.Conv2d(2, 2, 1)
            self.nodes = nn.BatchNorm2d(2)
            self.relu = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(F.relu(self.nodes(self.input(self.values(self.layers(x))))))  # type: ignore[no-any-return]

    model = Named()
    assert sorted(traced(model).state_dict()) == sorted(model.state_dict())


def test_a_module_called_twice_is_one_layer_with_two_calls() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = F.relu(self.norm(self.conv(x)))
            return x

    model = Shared()
    model.norm.running_mean = torch.tensor([0.3])
    network = traced(model)
    assert [len(network.calls(path)) for path in ("conv", "norm")] == [2, 2]
    assert [node.name for node in network.calls("conv")] == ["conv", "conv@2"]


def test_functional_weights_become_layers() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Module()
            self.inner.first = nn.Parameter(torch.randn(2, 1, 3, 3))
            self.inner.second = nn.Parameter(torch.randn(2, 2, 3, 3))
            self.inner.bias = nn.Parameter(torch.randn(2))
            self.relu = nn.Parameter(torch.randn(3, 32))

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(F.conv2d(x, self.inner.first))  # type: ignore[arg-type]
            x = F.conv2d(x, self.inner.second, self.inner.bias)  # type: ignore[arg-type]
            x = F.conv2d(x, self.inner.second, padding=3)  # type: ignore[arg-type]
            return F.linear(F.max_pool2d(x, 2).flatten(1), self.relu)

    # Two weights of one owner, and one weight in two roles, are three layers; a parameter called relu is no ReLU.
    network = traced(Functional())
    assert kinds(network) == ["Conv2d", "ReLU", "Conv2d", "Conv2d", "MaxPool2d", "Flatten", "Linear"]
    assert len(network.weighted()) == 4


def test_the_mode_of_every_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    model.train()
    model[1].eval()
    before = [module.training for module in model.modules()]
    network = trace(model, SHAPE)
    assert [module.training for module in model.modules()] == before
    assert not any(module.training for module in network.modules())


def test_dropout_is_kept_and_active_in_training() -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.images = nn.Dropout2d(0.25)
            self.vectors = nn.Dropout(0.75, inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.vectors(self.images(x).flatten(1))  # type: ignore[no-any-return]

    network = traced(Dropped())
    assert [(type(layer), layer.p) for _, layer in network.layers() if isinstance(layer, nn.Dropout | nn.Dropout2d)] == [
        (nn.Dropout2d, 0.25), (nn.Dropout, 0.75)
    ]  # fmt: skip
    torch.manual_seed(0)
    dropped = float((network.train()(torch.ones(200, *SHAPE)) == 0).float().mean())
    assert dropped == pytest.approx(1 - 0.75 * 0.25, abs=0.02)


# -- in-place ops ----------------------------------------------------------------------------------------------


def test_later_readers_of_a_value_written_in_place_see_the_new_value() -> None:
    def residual(x: Tensor) -> Tensor:
        y = F.relu(x, inplace=True)
        return x + y

    def through_an_alias(x: Tensor) -> Tensor:
        other = x.detach()
        F.relu_(x)
        return other + F.relu6(x)

    def of_the_sum(x: Tensor) -> Tensor:
        y = F.relu6(x)
        x += y
        return F.relu(y) + x

    for then, found in (
        (residual, ["Conv2d", "ReLU", "Add"]),
        (through_an_alias, ["Conv2d", "ReLU", "ReLU6", "Add"]),
        (of_the_sum, ["Conv2d", "ReLU6", "Add", "ReLU", "Add"]),
    ):
        assert kinds(traced(After(then))) == found


def test_a_copy_keeps_the_old_value() -> None:
    def then(x: Tensor) -> Tensor:
        before = x.clone()
        F.relu_(x)
        return x + before

    network = traced(After(then))
    assert [node.inputs for node in network.nodes] == [("input",), ("conv",), ("relu_", "conv")]


def test_a_relu_in_place_on_the_input_comes_first() -> None:
    assert kinds(traced(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1)))) == ["ReLU", "Conv2d"]


def test_a_view_written_behind_its_back_is_refused() -> None:
    def written_after(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        F.relu_(x)
        return F.relu6(flat)

    def written_through(x: Tensor) -> Tensor:
        F.relu_(x.view(x.size(0), -1))
        return F.relu6(x)

    def read_before(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        pooled = F.avg_pool2d(x, 6).flatten(1)
        F.relu_(flat)
        return torch.cat([flat, pooled], 1)

    for then in (written_after, written_through):
        with pytest.raises(ModelError, match="aten.relu_.default .* changes in place what aten.relu6.default"):
            trace(After(then), SHAPE)
    traced(After(read_before))


# -- ways to say the same --------------------------------------------------------------------------------------

FLATTEN: dict[str, Forward] = {
    "flatten": lambda x: x.flatten(1),
    "torch.flatten to the end": lambda x: torch.flatten(x, 1, -1),
    "view of the batch": lambda x: x.view(x.size(0), -1),
    "view of a number": lambda x: x.view(-1, 144),
    "view of a product": lambda x: x.view(-1, 4 * 6 * 6),
    "reshape": lambda x: x.reshape(x.shape[0], 144),
    "contiguous view": lambda x: x.contiguous().view(-1, 144),
    "view of what it is": lambda x: x.view(-1, 4, 6, 6).flatten(1).view(-1, 144),
}


@pytest.mark.parametrize("name", FLATTEN)
def test_every_way_to_flatten_is_a_flatten(name: str) -> None:
    assert kinds(traced(After(FLATTEN[name]))) == ["Conv2d", "Flatten"]


GLOBAL: dict[str, Forward] = {
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "mean": lambda x: x.mean((2, 3)),
    "mean by keyword": lambda x: torch.mean(x, dim=[-1, -2]),
    "mean with dimensions kept": lambda x: x.mean((3, 2), keepdim=True).view(-1, 4),
    "squeeze": lambda x: F.adaptive_avg_pool2d(x, (1, 1)).squeeze((2, 3)),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_every_way_to_average_an_image_is_global_pooling(name: str) -> None:
    network = traced(After(GLOBAL[name]))
    assert kinds(network) == ["Conv2d", "AdaptiveAvgPool2d", "Flatten"]


RELU6: dict[str, Forward] = {
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "hardtanh in place": lambda x: F.hardtanh(x, 0, 6, inplace=True),
    "clamp": lambda x: x.clamp(0, 6),
    "clamp by keyword": lambda x: torch.clamp(x, max=6, min=0),
    "clamp in place": lambda x: x.clamp_(0, 6),
}


@pytest.mark.parametrize("name", RELU6)
def test_every_way_to_clip_at_six_is_relu6(name: str) -> None:
    assert kinds(traced(After(RELU6[name]))) == ["Conv2d", "ReLU6"]


def test_pools_keep_their_geometry() -> None:
    pools: list[nn.Module] = [
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d((2, 3), (1, 2), (1, 0)),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d((3, 2), count_include_pad=True, padding=(1, 0)),
        nn.AvgPool2d(2),
    ]
    for pool in pools:
        found = traced(After(pool)).layers()
        (layer,) = (layer for path, layer in found if path != "conv")
        size = {name: getattr(pool, name) for name in ("kernel_size", "stride", "padding", "ceil_mode")}
        assert {name: getattr(layer, name) for name in size} == {
            name: (value, value) if type(value) is int else value for name, value in size.items()
        }


def test_adaptive_pooling_that_divides_evenly_is_average_pooling() -> None:
    for size, kernel in (((2, 3), (3, 2)), ((None, 2), (1, 3)), (6, (1, 1))):
        network = traced(After(lambda x, size=size: F.adaptive_avg_pool2d(x, size)))  # type: ignore[misc]
        pool = network.get_submodule(network.nodes[-1].layer)
        assert isinstance(pool, nn.AvgPool2d) and pool.kernel_size == kernel


def test_convolutions_keep_their_geometry() -> None:
    for conv, padding in (
        (nn.Conv2d(1, 2, (3, 5), padding="same", dilation=(2, 1)), (2, 2)),
        (nn.Conv2d(1, 2, 3, padding="valid"), (0, 0)),
        (nn.Conv2d(1, 2, (2, 3), (2, 1), (1, 0), (1, 2), bias=False), (1, 0)),
    ):
        _, layer = next(traced(conv).layers())
        assert isinstance(layer, nn.Conv2d)
        assert (layer.padding, layer.stride, layer.dilation) == (padding, conv.stride, conv.dilation)
        assert (layer.bias is None) == (conv.bias is None)


def test_concatenation_and_addition() -> None:
    assert kinds(traced(After(lambda x: torch.cat([x, F.relu(x), x], dim=-3)))) == ["Conv2d", "ReLU", "Concat"]
    assert kinds(traced(After(lambda x: torch.concat((x, x), 1)))) == ["Conv2d", "Concat"]
    assert kinds(traced(After(lambda x: torch.add(x, x)))) == ["Conv2d", "Add"]


# -- exported programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_pt2_file_gives_the_same_network_as_its_model(tmp_path: Path, batch: int) -> None:
    model = resnet20.build((3, 16, 16), 5, depth=8, width=4).eval()
    program = torch.export.export(model, (torch.zeros(batch, 3, 16, 16),))
    torch.export.save(program, tmp_path / "model.pt2")
    found, expected = trace(load_exported(tmp_path / "model.pt2"), (3, 16, 16)), trace(model, (3, 16, 16))
    assert found.nodes == expected.nodes
    assert found.state_dict().keys() == model.state_dict().keys()
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(found(images), model(images))


def test_a_batch_of_any_size_may_be_exported() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)).eval()
    program = torch.export.export(model, (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    images = torch.randn(4, *SHAPE)
    with torch.no_grad():
        assert torch.equal(trace(program, SHAPE)(images), model(images))


def test_a_damaged_pt2_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(b"not a zip archive")
    with pytest.raises(ModelError, match=r"model.pt2: not a .pt2 file that torch .* can load"):
        load_exported(path)


def test_a_network_is_copied() -> None:
    network = trace(After(F.relu), SHAPE)
    again = trace(network, SHAPE)
    assert again is not network and again.nodes == network.nodes


# -- refusals --------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)  # type: ignore[no-any-return]


def test_an_unknown_op_is_named_with_its_place_and_what_is_known() -> None:
    with pytest.raises(
        ModelError, match=r"unknown op aten.sigmoid.default in module 'block.1'; camfit knows .*aten.relu"
    ):
        trace(Deep(), SHAPE)


REFUSED: dict[str, tuple[Forward, str]] = {
    "two outputs": (lambda x: (x, F.relu(x)), "returns 2 values; camfit expects exactly one"),  # type: ignore[dict-item, return-value]
    "the same output twice": (lambda x: (x, x), "returns 2 values"),  # type: ignore[dict-item, return-value]
    "a view that is no flattening": (lambda x: x.view(-1, 72), r"\[4, 6, 6\] to \[72\]; camfit expects flattening"),
    "a vector unfolded": (
        lambda x: x.flatten(1).view(-1, 4, 6, 6),
        r"\[144\] to \[4, 6, 6\]; camfit expects flattening",
    ),
    "a number added": (lambda x: x + 1, "camfit expects the plain sum"),
    "a scaled sum": (lambda x: torch.add(x, x, alpha=2), "camfit expects the plain sum"),
    "a broadcast sum": (lambda x: x + x.mean((2, 3), keepdim=True), r"shapes \[4, 6, 6\] and \[4, 1, 1\]"),
    "another clamp": (lambda x: x.clamp(min=0), r"to \[0, None\]; camfit expects \[0, 6\]"),
    "a default hardtanh": (lambda x: F.hardtanh(x), r"to \[-1.0, 1.0\]; camfit expects \[0, 6\]"),
    "a mean over channels": (lambda x: x.mean(1), r"over dimensions \[1\]; camfit expects height and width"),
    "a mean over everything": (lambda x: x.mean((2, 3, 1)), r"over dimensions \[1, 2, 3\]"),
    "adaptive pooling that overlaps": (
        lambda x: F.adaptive_avg_pool2d(x, 4),
        r"\[6, 6\] to \[4, 4\]; .* even division",
    ),
    "dilated pooling": (lambda x: F.max_pool2d(x, 2, dilation=2), "dilation .* camfit expects 1"),
    "a pool with its own divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "a divisor of its own"),
    "rows side by side": (lambda x: torch.cat([x, x], 2), "along dimension 2; camfit expects the channels"),
    "soft-max over an image": (lambda x: F.softmax(x, 1), "camfit expects a vector's"),
    "a constant": (lambda x: torch.ones(2, 3), "unknown op aten.ones.default"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_named(name: str) -> None:
    then, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        trace(After(then), SHAPE)


def test_more_refusals() -> None:
    with pytest.raises(ModelError, match=r"padding 'same' with kernel 2x3 is uneven"):
        trace(nn.Conv2d(1, 1, (2, 3), padding="same"), SHAPE)
    with pytest.raises(ModelError, match="unknown op aten.pad.default"):
        trace(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), SHAPE)
    with pytest.raises(ModelError, match="batch_norm.*camfit expects a parameter"):
        trace(nn.BatchNorm2d(1, track_running_stats=False), SHAPE)
    with pytest.raises(ModelError, match=r"linear in module '1': input of shape \[4, 6, 6\]; .* a flat vector"):
        trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(6, 2)), SHAPE)
    with pytest.raises(ModelError, match="unknown op aten._weight_norm"):
        trace(parametrizations.weight_norm(nn.Conv2d(1, 1, 3)), SHAPE)
    with pytest.raises(ModelError, match="output is not the value of its last layer"):
        trace(nn.Identity(), SHAPE)


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def test_two_inputs_are_refused() -> None:
    program = torch.export.export(Two(), (torch.zeros(2, 3), torch.zeros(2, 3)))
    with pytest.raises(ModelError, match="takes 2 inputs; camfit expects exactly one"):
        trace(program, (3,))


def test_a_wrong_input_shape_is_named() -> None:
    with pytest.raises(ModelError, match=r"model After cannot be traced on input \[3, 8, 8\]: .*channels"):
        trace(After(F.relu), (3, 8, 8))
    program = torch.export.export(After(F.relu), (torch.zeros(2, *SHAPE),))
    with pytest.raises(ModelError, match=r"exported for inputs of shape \[1, 8, 8\]; the data has \[1, 9, 9\]"):
        trace(program, (1, 9, 9))
