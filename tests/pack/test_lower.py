from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.forms import Masked, attach, form_of
from camfit.layers import BinaryLinear
from camfit.network import INPUT, Add, Concat, Network, Node
from camfit.pack.lower import Op, lower
from methods.chain import chain

RELU, RELU6 = 1, 2


def norm(
    channels: int, *, scale: float = 4.0, shift: float = 1.0, mean: float = 3.0, var: float = 4.0
) -> nn.BatchNorm2d:
    """A batch-norm that is y = scale·(x − mean)/√var + shift; by default y = 2x − 5."""
    layer = nn.BatchNorm2d(channels, eps=0.0)
    with torch.no_grad():
        layer.weight.fill_(scale)
        layer.bias.fill_(shift)
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.fill_(mean)
        layer.running_var.fill_(var)
    return layer


def conv(*weights: float, bias: bool = True) -> nn.Conv2d:
    """1x1 over one channel: one weight for each output."""
    layer = nn.Conv2d(1, len(weights), 1, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).reshape(-1, 1, 1, 1))
        if layer.bias is not None:
            layer.bias.fill_(0.5)
    return layer


def joined(layers: dict[str, nn.Module], *nodes: tuple[str, str, tuple[str, ...]]) -> Network:
    return Network(tuple(Node(*node) for node in nodes), layers, (1, 4, 4)).eval()


def names(ops: list[Op]) -> list[str]:
    return [op.op for op in ops]


def values(op: Op) -> list[list[float] | None]:
    """Weight, scale and bias, flat."""
    return [None if weight is None else weight.values.flatten().tolist() for weight in op.weights]


def test_batch_norm_and_activation_fold_into_a_dense_layer() -> None:
    """2·(w·x + 0.5) − 5 = 2w·x − 4."""
    (op,) = lower(chain((1, 4, 4), conv=conv(1.0, -3.0), norm=norm(2), relu=nn.ReLU6()))
    assert (op.op, op.name, op.inputs) == ("conv2d", "conv", [0])
    assert op.attributes == [2, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, RELU6]
    assert values(op) == [[2, -6], None, [-4, -4]]


def test_a_layer_without_bias_gets_the_norms() -> None:
    (op,) = lower(chain((1, 4, 4), conv=conv(1.0, bias=False), norm=norm(1)))
    assert values(op) == [[2], None, [-5]]


def test_weights_in_a_form_keep_their_values_beside_a_scale() -> None:
    network = chain((1, 4, 4), conv=conv(1.0, -3.0), norm=norm(2), relu=nn.ReLU())
    attach(network.layer("conv"), Masked(torch.tensor([True, False]).reshape(2, 1, 1, 1)), torch.ones(2, 1, 1, 1))
    (op,) = lower(network)
    assert values(op) == [[1, 0], [2, 2], [-4, -4]]
    weight = op.weights[0]
    assert weight is not None and weight.form is form_of(network.layer("conv"))


def test_a_batch_norm_behind_anything_else_is_an_affine_op() -> None:
    ops = lower(chain((1, 4, 4), norm=norm(1), relu=nn.ReLU(), conv=conv(1.0)))
    assert names(ops) == ["affine", "conv2d"]
    assert ops[0].attributes == [RELU] and values(ops[0]) == [[2], [-5]]


def test_a_value_that_others_read_too_is_not_folded_away() -> None:
    layers: dict[str, nn.Module] = {"conv": conv(1.0), "norm": norm(1), "relu": nn.ReLU(), "add": Add()}
    network = joined(
        layers, ("conv", "conv", (INPUT,)), ("norm", "norm", ("conv",)), ("relu", "relu", ("norm",)), ("add", "add", ("conv", "relu"))
    )  # fmt: skip
    ops = lower(network)
    assert names(ops) == ["conv2d", "affine", "add"]
    assert [op.inputs for op in ops] == [[0], [1], [1, 2]] and ops[1].attributes == [RELU]


def test_a_relu_behind_an_addition_folds_and_behind_a_concatenation_stands() -> None:
    layers: dict[str, nn.Module] = {
        "a": nn.MaxPool2d(1),
        "add": Add(),
        "relu": nn.ReLU(),
        "cat": Concat(),
        "six": nn.ReLU6(),
    }
    network = joined(
        layers,
        ("a", "a", (INPUT,)),
        ("add", "add", ("a", INPUT)),
        ("relu", "relu", ("add",)),
        ("cat", "cat", ("relu", INPUT, "a")),
        ("six", "six", ("cat",)),
    )
    ops = lower(network)
    assert [(op.op, op.inputs, op.attributes) for op in ops[1:]] == [
        ("add", [1, 0], [RELU]), ("concat", [2, 0, 1], []), ("activation", [3], [RELU6])
    ]  # fmt: skip


def test_dropout_disappears_wherever_it_stands() -> None:
    network = chain(
        (1, 4, 4),
        first=nn.Dropout(0.5),
        conv=conv(1.0),
        second=nn.Dropout2d(0.5),
        norm=norm(1),
        third=nn.Dropout(0.5),
        relu=nn.ReLU(),
        flatten=nn.Flatten(),
        last=nn.Dropout(0.5),
    )
    ops = lower(network)
    assert [(op.op, op.inputs) for op in ops] == [("conv2d", [0]), ("flatten", [1])]
    assert values(ops[0]) == [[2], None, [-4]] and ops[0].attributes[-1] == RELU


def test_a_dropped_value_with_two_readers_is_the_value_itself() -> None:
    layers: dict[str, nn.Module] = {"conv": conv(1.0), "drop": nn.Dropout(0.5), "relu": nn.ReLU(), "add": Add()}
    network = joined(
        layers, ("conv", "conv", (INPUT,)), ("drop", "drop", ("conv",)), ("relu", "relu", ("drop",)), ("add", "add", ("drop", "relu"))
    )  # fmt: skip
    assert [(op.op, op.inputs, op.attributes[-1:]) for op in lower(network)] == [
        ("conv2d", [0], [0]), ("activation", [1], [RELU]), ("add", [1, 2], [0])
    ]  # fmt: skip


def test_a_shared_layer_folds_each_norm_of_its_own() -> None:
    layers: dict[str, nn.Module] = {"conv": conv(1.0), "norm": norm(1), "relu": nn.ReLU()}
    network = joined(
        layers, ("a", "conv", (INPUT,)), ("norm", "norm", ("a",)), ("b", "conv", ("norm",)), ("relu", "relu", ("b",))
    )
    first, second = lower(network)
    assert values(first) == [[2], None, [-4]] and values(second) == [[1], None, [0.5]]
    assert [weight.layer for op in (first, second) for weight in op.weights if weight is not None] == ["conv"] * 4


def test_convolutions_keep_their_geometry() -> None:
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2, bias=False)
    (op,) = lower(chain((4, 8, 8), conv=layer))
    assert op.attributes == [6, 3, 2, 2, 1, 1, 0, 1, 0, 1, 2, 2, 0] and op.weights[1:] == [None, None]


def test_a_shuffle_carries_its_groups() -> None:
    _, op = lower(chain((4, 8, 8), conv=nn.Conv2d(4, 6, 1), shuffle=nn.ChannelShuffle(3)))
    assert (op.op, op.inputs, op.attributes, op.weights) == ("channel_shuffle", [1], [3], [])


@pytest.mark.parametrize(
    ("pool", "size", "attributes"),
    [
        (nn.MaxPool2d(2), (4, 6), [2, 2, 2, 2, 0, 0, 0, 0]),
        (nn.MaxPool2d((3, 2), (1, 2), (1, 0)), (5, 6), [3, 2, 1, 2, 1, 0, 1, 0]),
        # 5 pixels, windows of 2: the third hangs over by one.
        (nn.MaxPool2d(2, ceil_mode=True), (5, 4), [2, 2, 2, 2, 0, 0, 1, 0]),
        # 6 pixels and padding 1, windows of 3 at -1, 1, 3, 5: the fourth ends at 8, two behind the last pixel.
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (6, 5), [3, 3, 2, 2, 1, 1, 2, 1]),
        # 4 pixels and padding 1, windows of 2 at -1, 2: a third would start in the padding and is left out.
        (nn.MaxPool2d(2, 3, 1, ceil_mode=True), (4, 4), [2, 2, 3, 3, 1, 1, 1, 1]),
        (nn.AvgPool2d(3, 1, 1), (4, 4), [3, 3, 1, 1, 1, 1, 1, 1, 1]),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), (4, 4), [3, 3, 1, 1, 1, 1, 1, 1, 0]),
        # Torch never counts an overhang; without padding the engine may simply count real pixels.
        (nn.AvgPool2d(2, ceil_mode=True), (5, 5), [2, 2, 2, 2, 0, 0, 1, 1, 0]),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (6, 6), [3, 3, 2, 2, 1, 1, 2, 2, 0]),
        # Nothing hangs over here.
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (5, 5), [3, 3, 2, 2, 1, 1, 1, 1, 1]),
    ],
)
def test_pools_carry_their_padding_on_each_side(pool: nn.Module, size: tuple[int, int], attributes: list[int]) -> None:
    (op,) = lower(chain((1, *size), pool=pool))
    assert op.attributes == attributes
    kh, kw, sh, sw, top, left, bottom, right = attributes[:8]
    made = pool(torch.zeros(1, 1, *size)).shape[2:]
    assert tuple(made) == ((size[0] + top + bottom - kh) // sh + 1, (size[1] + left + right - kw) // sw + 1)


def test_an_average_that_counts_padding_but_not_its_overhang_is_refused() -> None:
    network = chain((1, 6, 6), pool=nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=True))
    with pytest.raises(ModelError, match="layer 'pool': average pooling with padding, ceil_mode and count_include_pad"):
        lower(network)


def test_a_binary_layer_needs_its_signs() -> None:
    with pytest.raises(ModelError, match="layer 'fc': a binary layer's weight must have the form sign, found dense"):
        lower(chain((3,), fc=BinaryLinear(3, 2)))


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_what_the_engine_lacks_is_named() -> None:
    with pytest.raises(ModelError, match=r"layer 'odd' \(Identity\): the engine has no op for it"):
        lower(chain((1, 4, 4), conv=conv(1.0), odd=Identity()))
    with pytest.raises(ModelError, match="computes nothing"):
        lower(chain((1, 4, 4), drop=nn.Dropout()))
