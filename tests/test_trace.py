from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit import zoo
from camfit.errors import ModelError
from camfit.trace import load_exported, trace
from camfit.zoo import resnet20
from networks import Allowed, inputs, plain, random_network
from tracing import SHAPE, After, kinds, traced

# -- models as people write them -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_any_network_written_as_a_module_is_traced_back(seed: int) -> None:
    network = random_network(seed, Allowed(pixels=False))
    model = plain(network)
    found = trace(model, network.input_shape)
    images = inputs(network, 0)
    with torch.no_grad():
        torch.testing.assert_close(found(images), network(images), rtol=0, atol=0)
    assert len(found.nodes) == len(network.nodes)


@pytest.mark.parametrize(
    "name",
    [
        "digits_cnn",
        "lenet5",
        "resnet20",
        "mobilenet_v1_025",
        "fire_small",
        "mobilenet_v2",
        "resnet18",
        "shufflenet_v1",
        "squeezenet_1_1",
    ],
)
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
            x = F.conv2d(x, self.inner.second)  # type: ignore[arg-type]
            x = F.conv2d(x, self.inner.second, self.inner.bias, padding=3)  # type: ignore[arg-type]
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
