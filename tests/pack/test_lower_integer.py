"""Which ops bytes and integer weights become, and where bytes turn into floats and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.forms import Integer, attach, weight_of
from camfit.layers import Quantize
from camfit.network import INPUT, Add, Concat, Network, Node
from camfit.pack.integer import Bytes, addition_fits, average_fits, float_bits, results_fit, sum_limits, sums_fit
from camfit.pack.lower import Op, lower
from methods.chain import chain

RELU, RELU6 = 1, 2
HALF = float_bits(0.5)


def integer(layer: nn.Module, scale: float = 0.25) -> nn.Module:
    attach(layer, Integer(torch.full((weight_of(layer).shape[0],), scale)), weight_of(layer).detach())
    return layer


def conv(channels: int = 1) -> nn.Module:
    """1x1 with the weight 1 and the bias 0.5."""
    layer = nn.Conv2d(channels, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(0.5)  # type: ignore[union-attr]
    return integer(layer)


def joined(layers: dict[str, nn.Module], *nodes: tuple[str, str]) -> Network:
    """Nodes called like their layers; their inputs as words."""
    return Network(tuple(Node(name, name, tuple(sources.split())) for name, sources in nodes), layers, (1, 4, 4)).eval()


def brief(ops: list[Op]) -> list[tuple[str, list[int]]]:
    return [(op.op, op.inputs) for op in ops]


def test_an_integer_layer_between_bytes_takes_activation_and_steps_in() -> None:
    network = chain((1, 4, 4), a=Quantize(0.5, 7), conv=conv(), drop=nn.Dropout(), relu=nn.ReLU6(), b=Quantize(2.0, 9))
    quantize, op, end = lower(network)
    assert (quantize.op, quantize.name, quantize.attributes) == ("quantize", "a", [HALF, 7])
    assert (op.op, op.name, op.inputs) == ("int8_conv2d", "conv", [1])
    assert op.attributes == [1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, RELU6, float_bits(2.0), 9]
    assert [w and w.values.flatten().tolist() for w in op.weights] == [[4], [0.25], [0.5]]
    assert (end.op, end.inputs) == ("dequantize", [2]), "the network's output is float"


def test_the_last_layer_gives_floats() -> None:
    network = chain((3,), a=Quantize(0.5), fc=integer(nn.Linear(3, 2, bias=False)), softmax=nn.Softmax(1))
    ops = lower(network)
    assert brief(ops) == [("quantize", [0]), ("int8_linear", [1]), ("softmax", [2])]
    assert ops[1].attributes == [2, 0, 0, 0] and ops[1].weights[2] is None


def test_layers_that_move_values_take_bytes_and_steps_that_change_nothing_vanish() -> None:
    network = chain(
        (2, 4, 4), a=Quantize(0.5, 7), max=nn.MaxPool2d(2), relu=nn.ReLU(), shuffle=nn.ChannelShuffle(2),
        avg=nn.AvgPool2d(2), again=Quantize(0.5, 7), flatten=nn.Flatten(), fc=integer(nn.Linear(2, 1)),
    )  # fmt: skip
    names = ["quantize", "max_pool", "activation", "channel_shuffle", "avg_pool", "flatten", "int8_linear"]
    assert brief(lower(network)) == [(name, [number]) for number, name in enumerate(names)]


def test_other_steps_go_through_floats() -> None:
    network = chain((3,), a=Quantize(0.5), b=Quantize(0.25), fc=integer(nn.Linear(3, 2)))
    assert [op.op for op in lower(network)] == ["quantize", "dequantize", "quantize", "int8_linear"]


def test_a_float_op_reads_floats_once_for_all_its_readers() -> None:
    layers = {"a": Quantize(0.5), "one": nn.BatchNorm2d(1), "two": nn.BatchNorm2d(1), "c": conv(), "add": Add()}
    network = joined(layers, ("a", INPUT), ("one", "a"), ("two", "a"), ("add", "one two"), ("c", "a"))
    network = network.with_nodes((*network.nodes, Node("sum", "sum", ("add", "c"))), {"sum": Add()})
    ops = lower(network)
    assert brief(ops) == [
        ("quantize", [0]), ("dequantize", [1]), ("affine", [2]), ("affine", [2]), ("add", [3, 4]), ("int8_conv2d", [1]),
        ("add", [5, 6]),
    ]  # fmt: skip
    assert len({op.name for op in ops}) == len(ops)


def test_sums_and_averages_between_bytes_are_integer_ops() -> None:
    layers: dict[str, nn.Module] = {
        "a": Quantize(0.5, 7), "b": Quantize(0.25), "add": Add(), "relu": nn.ReLU(), "c": Quantize(2.0, 1),
        "mean": nn.AdaptiveAvgPool2d(1), "d": Quantize(0.5, 2), "conv": conv(),
    }  # fmt: skip
    nodes = [("a", INPUT), ("b", INPUT), ("add", "a b"), ("relu", "add"), ("c", "relu"), ("mean", "c"), ("d", "mean")]
    ops = lower(joined(layers, *nodes, ("conv", "d")))
    assert brief(ops)[2:] == [("int8_add", [1, 2]), ("int8_global_avg_pool", [3]), ("int8_conv2d", [4])]
    assert ops[2].attributes == [RELU, float_bits(2.0), 1] and ops[3].attributes == [HALF, 2]


def test_a_sum_with_a_float_is_a_float_sum() -> None:
    layers: dict[str, nn.Module] = {"a": Quantize(0.5), "add": Add(), "c": Quantize(2.0), "conv": conv()}
    ops = lower(joined(layers, ("a", INPUT), ("add", f"a {INPUT}"), ("c", "add"), ("conv", "c")))
    assert [op.op for op in ops] == ["quantize", "dequantize", "add", "quantize", "int8_conv2d"]


def test_a_concatenation_takes_bytes_of_one_meaning_alone() -> None:
    for zero, names in (
        (7, ["quantize", "quantize", "concat"]),
        (8, ["quantize", "quantize", "dequantize", "dequantize", "concat"]),
    ):
        layers: dict[str, nn.Module] = {
            "a": Quantize(0.5, 7),
            "b": Quantize(0.5, zero),
            "max": nn.MaxPool2d(1),
            "cat": Concat(),
        }
        network = joined(layers, ("max", INPUT), ("a", INPUT), ("b", "max"), ("cat", "a b"))
        assert [op.op for op in lower(network)][1:] == [*names, "dequantize"][: len(names) + (zero == 7)]


def test_integers_that_read_floats_are_a_codebook_with_their_scale_and_the_norms() -> None:
    norm = nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        norm.weight.fill_(-2.0)
    op, *_ = lower(chain((1, 4, 4), conv=conv(), norm=norm, relu=nn.ReLU(), b=Quantize(0.5)))
    assert (op.op, op.attributes[-1]) == ("conv2d", RELU)
    assert [w and w.values.flatten().tolist() for w in op.weights] == [[4], [-0.5], [-1]]
    assert op.weights[1] is not None and op.weights[1].exact


def test_a_norm_behind_an_integer_op_stays() -> None:
    ops = lower(
        chain(
            (1, 4, 4),
            a=Quantize(0.5),
            conv=conv(),
            norm=nn.BatchNorm2d(1),
            b=Quantize(0.5),
            c=integer(nn.Conv2d(1, 1, 1)),
        )
    )
    assert [op.op for op in ops] == ["quantize", "int8_conv2d", "affine", "quantize", "int8_conv2d"]
    assert ops[1].attributes[-2:] == [0, 0]


# -- what does not fit -----------------------------------------------------------------------------------------


def test_limits_of_sums_by_hand() -> None:
    """255·(3 + 2) and a bias of 10 in steps of 0.5·0.25: 80."""
    weight = torch.tensor([[3.0, -2.0]])
    assert sum_limits(weight, torch.tensor([0.25]), torch.tensor([-10.0]), Bytes(0.5, 0)).tolist() == [1275 + 80]
    assert sum_limits(weight, torch.tensor([0.25]), None, Bytes(0.5, 9)).tolist() == [1275]
    assert sums_fit(torch.tensor([2.0**31 - 1], dtype=torch.float64)) and not sums_fit(torch.tensor([1.0, 2.0**31]))


def test_limits_of_results_by_hand() -> None:
    one = torch.ones(1)
    assert results_fit(2.0**29 * one, one, Bytes(1.0, 0), Bytes(1.0, 0))
    assert not results_fit(2.0**29 * one, one, Bytes(2.0, 0), Bytes(1.0, 0))
    assert addition_fits(Bytes(2.0**19, 0), Bytes(1.0, 0), Bytes(1.0, 0))
    assert not addition_fits(Bytes(1.0, 0), Bytes(2.0**20, 0), Bytes(1.0, 0))
    assert average_fits(49, Bytes(1.0, 0), Bytes(1.0, 0)) and not average_fits(49, Bytes(2.0**23, 0), Bytes(1.0, 0))


@pytest.mark.parametrize(
    ("bias", "target", "names"),
    [
        (1.0, 1.0, ["quantize", "int8_linear", "dequantize"]),
        # A result of 2⁴⁰ steps: the sum is handed on as a float.
        (1.0, 2.0**-40, ["quantize", "int8_linear", "quantize", "dequantize"]),
        # A bias of more than 31 bits: the layer runs in float.
        (2.0**40, 1.0, ["quantize", "dequantize", "linear", "quantize", "dequantize"]),
    ],
)
def test_what_does_not_fit_runs_in_float(bias: float, target: float, names: list[str]) -> None:
    layer = integer(nn.Linear(2, 1))
    with torch.no_grad():
        layer.bias.fill_(bias)  # type: ignore[union-attr, operator]
    network = chain((2,), a=Quantize(1.0), fc=layer, drop=nn.Dropout(), b=Quantize(target))
    assert [op.op for op in lower(network)] == names
