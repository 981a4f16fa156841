"""Every way to write an op gives the same layer; an op that is something else is refused by name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from camfit.errors import ModelError
from camfit.network import Slice
from camfit.trace import trace
from tracing import SHAPE, After, Forward, kinds, traced

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
    for size, kernel in (((2, 3), (3, 2)), ((None, 2), (1, 3))):
        network = traced(After(lambda x, size=size: F.adaptive_avg_pool2d(x, size)))  # type: ignore[misc]
        pool = network.get_submodule(network.nodes[-1].layer)
        assert isinstance(pool, nn.AvgPool2d) and pool.kernel_size == kernel
    assert kinds(traced(After(lambda x: F.adaptive_avg_pool2d(x, 6)))) == ["Conv2d"]


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


def grouped(x: Tensor) -> Tensor:
    return x.view(x.shape[0], 2, 2, 6, 6)


SHUFFLE: dict[str, Forward] = {
    "the paper's": lambda x: grouped(x).transpose(1, 2).contiguous().view(x.shape[0], -1, 6, 6),
    "reshape": lambda x: x.reshape(-1, 2, 2, 6, 6).transpose(2, 1).reshape(-1, 4, 6, 6),
    "permute": lambda x: grouped(x).permute(0, 2, 1, 3, 4).flatten(1, 2),
    "unflatten and swap": lambda x: x.unflatten(1, (2, 2)).swapaxes(-4, -3).reshape(x.shape),
    "pixels in one dimension": lambda x: x.view(-1, 2, 2, 36).transpose(1, 2).reshape(-1, 4, 6, 6),
    "clone": lambda x: grouped(x).transpose(1, 2).clone(memory_format=torch.contiguous_format).view(-1, 4, 6, 6),
    "function": lambda x: torch.channel_shuffle(x, 2),
    "module": nn.ChannelShuffle(2),
}


@pytest.mark.parametrize("name", SHUFFLE)
def test_every_way_to_shuffle_channels_is_a_shuffle(name: str) -> None:
    network = traced(After(SHUFFLE[name]))
    assert kinds(network) == ["Conv2d", "ChannelShuffle"]
    assert isinstance(shuffle := network.get_submodule(network.nodes[1].layer), nn.ChannelShuffle)
    assert shuffle.groups == 2


def test_a_shuffle_into_a_vector_is_flattened_too() -> None:
    network = traced(After(lambda x: grouped(x).transpose(1, 2).reshape(-1, 144)))
    assert kinds(network) == ["Conv2d", "ChannelShuffle", "Flatten"]


def test_a_shuffle_that_moves_nothing_is_no_layer() -> None:
    for then in (
        lambda x: F.relu(torch.channel_shuffle(x, 1)),
        lambda x: F.relu(torch.channel_shuffle(x, 4)),
        lambda x: F.relu(x.view(-1, 4, 1, 6, 6).transpose(1, 2).reshape(-1, 4, 6, 6)),
        lambda x: F.relu(grouped(x).transpose(1, 2).transpose(1, 2).reshape(-1, 4, 6, 6)),
        lambda x: F.relu(grouped(x).view(x.shape)),
    ):
        assert kinds(traced(After(then))) == ["Conv2d", "ReLU"]


def test_shuffled_channels_have_memory_of_their_own() -> None:
    def shuffled(x: Tensor) -> Tensor:
        y = grouped(x).transpose(1, 2).reshape(x.shape)
        y += x
        return F.relu(x) + y

    def written_between(x: Tensor) -> Tensor:
        folded = grouped(x).transpose(1, 2)
        F.relu_(x)
        return folded.reshape(x.shape)

    assert kinds(traced(After(shuffled))) == ["Conv2d", "ChannelShuffle", "Add", "ReLU", "Add"]
    with pytest.raises(ModelError, match="aten.relu_.default .* changes in place what aten.reshape.default"):
        trace(After(written_between), SHAPE)


TRANSPOSED: dict[str, nn.ConvTranspose2d] = {
    "the U-Net's": nn.ConvTranspose2d(4, 3, 2, 2),
    "a kernel that the stride does not divide": nn.ConvTranspose2d(4, 3, 3, 2, padding=1, output_padding=1),
    "DCGAN's": nn.ConvTranspose2d(4, 3, 4, 2, padding=1, bias=False),
    "stride 1": nn.ConvTranspose2d(4, 3, 3),
    "stride 1, padded": nn.ConvTranspose2d(4, 3, 3, padding=2),
    "a kernel smaller than its stride": nn.ConvTranspose2d(4, 3, 2, 3),
    "pixels that no tap reaches": nn.ConvTranspose2d(4, 3, 2, 3, output_padding=2),
    "all of it cropped off at the edges": nn.ConvTranspose2d(4, 3, 2, 2, padding=3),
    "another geometry along each axis": nn.ConvTranspose2d(4, 3, (5, 2), (1, 3), (2, 0), (0, 1)),
    "groups": nn.ConvTranspose2d(4, 6, 3, 2, groups=2),
    "depth-wise": nn.ConvTranspose2d(4, 4, 4, 2, padding=1, groups=4, bias=False),
}


@pytest.mark.parametrize("name", TRANSPOSED)
@torch.no_grad()
def test_a_transposed_convolution_is_a_convolution_whose_channels_become_pixels(name: str) -> None:
    model = After(TRANSPOSED[name]).eval()
    network = trace(model, SHAPE)
    assert kinds(network) in (["Conv2d", "Conv2d", "DepthToSpace"], ["Conv2d", "Conv2d"])
    assert [path for path, _ in network.layers()][:2] == ["conv", "then"]
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), model(images), rtol=1e-5, atol=1e-6)
    assert network.shapes() == {name: tuple(value.shape[1:]) for name, value in network.values(images).items()}


def test_a_transposed_convolution_that_the_stride_divides_takes_no_more_products() -> None:
    network = trace(nn.ConvTranspose2d(2, 3, 4, 2, padding=1), (2, 5, 5))
    conv = network.layer(network.nodes[0].layer)
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.numel() == 2 * 3 * 4 * 4 and conv.kernel_size == (2, 2)


def test_a_shared_transposed_convolution_stays_shared() -> None:
    up = nn.ConvTranspose2d(1, 1, 2, 2)
    network = traced(nn.Sequential(up, nn.ReLU(), up), (1, 3, 3))
    convolutions = [node.layer for node in network.nodes if isinstance(network.layer(node.layer), nn.Conv2d)]
    assert len(convolutions) == 2 and len({*convolutions}) == 1


PIXELS: dict[str, Forward] = {
    "module": nn.PixelShuffle(2),
    "function": lambda x: F.pixel_shuffle(x, 2),
}


@pytest.mark.parametrize("name", PIXELS)
def test_a_pixel_shuffle_is_depth_to_space(name: str) -> None:
    assert kinds(traced(After(PIXELS[name]))) == ["Conv2d", "DepthToSpace"]


SPLIT: dict[str, tuple[Forward, list[tuple[int, int]]]] = {
    "chunk": (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), [(0, 2), (2, 2)]),
    "chunk, one part read": (lambda x: F.relu(x.chunk(2, dim=-3)[1]), [(2, 2)]),
    "split": (lambda x: torch.cat(torch.split(x, 3, 1)[::-1], 1), [(0, 3), (3, 1)]),
    "split into sizes": (lambda x: F.relu(torch.split(x, [1, 2, 1], dim=1)[1]), [(1, 2)]),
    "tensor_split": (lambda x: F.relu(torch.tensor_split(x, 2, dim=1)[0]), [(0, 2)]),
    "narrow": (lambda x: F.relu(x.narrow(1, 1, 2)), [(1, 2)]),
    "slice": (lambda x: F.relu(x[:, 1:3]), [(1, 2)]),
    "slice from behind": (lambda x: F.relu(x[:, -3:]), [(1, 3)]),
    "slice of all": (lambda x: F.relu(x[:, :4, 0:]), []),
    "split of a vector": (lambda x: F.relu(x.flatten(1).chunk(2, 1)[1]), [(72, 72)]),
    "split of a split": (lambda x: F.relu(x[:, 1:].chunk(3, 1)[2]), [(1, 3), (2, 1)]),
}


@pytest.mark.parametrize("name", SPLIT)
def test_every_way_to_pick_channels_is_a_slice(name: str) -> None:
    then, expected = SPLIT[name]
    network = traced(After(then))
    slices = [layer for _, layer in network.layers() if isinstance(layer, Slice)]
    assert [(layer.first, layer.count) for layer in slices] == expected


def test_a_part_changed_in_place_is_not_read_through_the_whole() -> None:
    def changed(x: Tensor) -> Tensor:
        part = x[:, :2]
        part.relu_()
        return torch.cat([x, part], 1)

    with pytest.raises(ModelError, match=r"relu_.* changes in place what .*cat.* reads through a view"):
        trace(After(changed), SHAPE)


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
    "channels folded and read": (lambda x: F.relu(grouped(x)), "relu.* camfit expects a channel shuffle"),
    "channels folded in another order": (
        lambda x: grouped(x).permute(0, 2, 1, 4, 3).reshape(x.shape),
        r"in the order \[0, 2, 1, 4, 3\]; camfit expects a channel shuffle",
    ),
    "rows and columns swapped": (lambda x: x.transpose(2, 3), r"in the order \[0, 1, 3, 2\]; camfit expects a channel"),
    "a fold unfolded into another shape": (
        lambda x: grouped(x).transpose(1, 2).reshape(-1, 2, 12, 6),
        r"to \[2, 12, 6\]; camfit expects a channel shuffle",
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
    "rows picked": (lambda x: x[:, :, 1:], "along dimension 2; camfit expects the channels"),
    "rows split": (lambda x: torch.cat(x.chunk(2, 2), 1), "along dimension 2; camfit expects the channels"),
    "every other channel": (lambda x: x[:, ::2], "step 2; camfit expects neighbouring channels"),
    "a dilated transposed convolution": (
        nn.ConvTranspose2d(4, 2, 3, dilation=2),
        r"dilation \[2, 2\]; camfit expects 1",
    ),
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
