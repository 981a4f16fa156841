from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from camfit.cost import mac_cost, macs, parameters, weight_cost
from camfit.forms import Codebook, Hashed, Masked, attach
from camfit.graph import Graph
from camfit.network import INPUT, Network, Node
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply
from networks import random_network


def small() -> Network:
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(2, 4, 3, padding=1),
        "norm": nn.BatchNorm2d(4),
        "deep": nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(4, 3),
    }
    names = [INPUT, *layers]
    return Network(tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False)), layers, (2, 5, 6))


def test_macs_are_weights_times_output_pixels() -> None:
    assert macs(small()) == {"conv": 30 * 4 * 2 * 9, "deep": 30 * 4 * 9, "fc": 12}


def test_a_shared_layers_macs_count_at_every_call() -> None:
    layer = nn.Conv2d(2, 2, 1)
    once = Network((Node("a", "a", (INPUT,)),), {"a": layer}, (2, 3, 3))
    twice = Network((Node("a", "a", (INPUT,)), Node("b", "a", ("a",))), {"a": layer}, (2, 3, 3))
    assert macs(twice)["a"] == 2 * macs(once)["a"] == 2 * 36
    assert parameters(twice) == parameters(once) == {"a": 6}


def test_parameters_count_what_a_form_stores() -> None:
    network = small()
    assert parameters(network) == {"conv": 76, "norm": 8, "deep": 36, "fc": 15}
    alive = torch.zeros(4, 2, 3, 3, dtype=torch.bool)
    alive[0] = True
    conv, fc, deep = (network.layer(path) for path in ("conv", "fc", "deep"))
    attach(conv, Masked(alive), conv.weight)
    attach(fc, Hashed((3, 4), 5, 1), torch.zeros(5))
    index = torch.zeros(4, 1, 3, 3, dtype=torch.int64)
    index[0] = -1
    attach(deep, Codebook(index, 2), torch.zeros(2))
    assert parameters(network) == {"conv": 18 + 4, "norm": 8, "deep": 27, "fc": 5 + 3}


@pytest.mark.parametrize("seed", range(40))
def test_the_costs_as_functions_of_channels_are_those_of_the_cut_network(seed: int) -> None:
    network = random_network(seed)
    graph, chosen = Graph.of(network), random.Random(seed)
    kept = {group.name: chosen.randint(1, len(group)) for group in graph.groups}
    plan = Plan("test", tuple(KeepChannels(name, tuple(range(count))) for name, count in kept.items()))
    cut = apply(network, plan)
    assert mac_cost(network, graph)({}) == sum(macs(network).values())
    assert mac_cost(network, graph)(kept) == sum(macs(cut).values())
    assert weight_cost(network, graph)({}) == sum(parameters(network).values())
    assert weight_cost(network, graph)(kept) == sum(parameters(cut).values())
