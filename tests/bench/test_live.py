"""The least bytes of activations, worked out by hand for chains, sums and integers; the engine's arena is never below."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import networks
from camfit.bench.live import live_bytes
from camfit.data import Normalisation
from camfit.layers import Add
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import Network, Node
from camfit.pack import pack
from camfit.pack.read import Contents, read
from camfit.surgery import apply


def contents(network: Network) -> Contents:
    channels = network.input_shape[0]
    return read(pack(network.eval(), Normalisation((1.0,) * channels, (0.0,) * channels)).data)


def chain() -> Network:
    layers = {"a": nn.Conv2d(1, 8, 3, padding=1), "b": nn.Conv2d(8, 2, 3, padding=1)}
    return Network((Node("a", "a", ("input",)), Node("b", "b", ("a",))), layers, (1, 4, 4))


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    assert live_bytes(contents(chain())) == 4 * 16 * (8 + 2)


def test_a_sum_may_be_written_over_an_operand_but_a_waiting_value_lives() -> None:
    layers = {"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 1), "sum": Add()}
    nodes = (Node("a", "a", ("input",)), Node("b", "b", ("a",)), Node("sum", "sum", ("b", "input")))
    assert live_bytes(contents(Network(nodes, layers, (4, 2, 2)))) == 3 * 4 * 16  # input, a and b


def test_bytes_count_as_one() -> None:
    network, images = chain(), torch.rand(4, 1, 4, 4)
    plan = Int8().plan(network, Calibration(images, torch.zeros(4, dtype=torch.int64)))
    # The float input beside its bytes; bytes of eight channels beside the float output, which is larger.
    assert live_bytes(contents(apply(network, plan))) == 16 * 8 + 4 * 16 * 2


def test_what_is_pooled_as_it_is_computed_never_lives() -> None:
    layers = {"a": nn.Conv2d(2, 8, 3, padding=1), "pool": nn.MaxPool2d(2), "b": nn.Conv2d(8, 8, 1)}
    nodes = (Node("a", "a", ("input",)), Node("pool", "pool", ("a",)), Node("b", "b", ("pool",)))
    network, images = Network(nodes, layers, (2, 16, 16)), torch.rand(4, 2, 16, 16)
    plan = Int8().plan(network, Calibration(images, torch.zeros(4, dtype=torch.int64)))
    found = contents(apply(network, plan))
    # The float input beside its bytes; without the 8 * 256 bytes of the convolution the next is less: bytes beside floats.
    assert live_bytes(found) == found.engine.memory["arena_bytes"] == 2 * 256 * (4 + 1)


@pytest.mark.parametrize("seed", range(20))
def test_no_arena_is_smaller(seed: int) -> None:
    found = contents(networks.random_network(seed))
    assert found.engine.memory["arena_bytes"] >= live_bytes(found)
