from __future__ import annotations

import torch
from torch import nn

from camfit.graph import Graph
from camfit.layers import is_depthwise
from camfit.methods.pruning.reader_weights import channel_norms, readers_of
from camfit.network import INPUT, Concat, Network, Node
from methods.chain import chain
from networks import random_network


def test_each_entry_names_the_channel_that_it_reads() -> None:
    network = chain(
        (1, 2, 1), a=nn.Conv2d(1, 4, 1), grouped=nn.Conv2d(4, 2, 1, groups=2), flat=nn.Flatten(), b=nn.Linear(4, 1)
    )
    first, second = Graph.of(network).groups
    # Both groups of the convolution lose the same place: channel 0 is inputs 0 and 2, channel 1 inputs 1 and 3.
    assert readers_of(network, first)["grouped"].flatten(1).tolist() == [[0, 1], [0, 1]]
    assert readers_of(network, second)["b"].tolist() == [[0, 0, 0, 0]]


def test_entries_that_read_another_group_read_none() -> None:
    layers = {"a": nn.Conv2d(1, 2, 1), "b": nn.Conv2d(1, 3, 1), "both": Concat(), "c": nn.Conv2d(5, 1, 1)}
    nodes = (
        Node("a", "a", (INPUT,)),
        Node("b", "b", (INPUT,)),
        Node("both", "both", ("b", "a")),
        Node("c", "c", ("both",)),
    )
    network = Network(nodes, layers, (1, 2, 2))
    group = Graph.of(network).group("a")
    assert readers_of(network, group)["c"].flatten().tolist() == [-1, -1, -1, 0, 1]
    weight = torch.tensor([[9.0, 9.0, 9.0, -3.0, 4.0]])[:, :, None, None]
    assert channel_norms({"c": weight}, readers_of(network, group), 2).tolist() == [3.0, 4.0]


def test_without_a_channels_weights_it_is_as_if_it_were_zero() -> None:
    """On random networks: readers whose entries for a channel are zero do not see it."""
    seen = 0
    for seed in range(60):
        network = random_network(seed).double()
        for group in Graph.of(network).groups:
            read = readers_of(network, group)
            if any(is_depthwise(network.layer(slot.layer)) for slot in group.consumers):
                continue
            deaf, mute = network.clone(), network.clone()
            with torch.no_grad():
                for path, of_entry in read.items():
                    deaf.layer(path).weight[of_entry == 0] = 0
                for slot in group.producers:
                    layer, rows = mute.layer(slot.layer), list(slot.positions[0])
                    for name in ("weight", "bias", "running_mean"):
                        if getattr(layer, name, None) is not None:
                            getattr(layer, name)[rows] = 0
                x = torch.randn(2, *network.input_shape, dtype=torch.float64)
                torch.testing.assert_close(deaf(x), mute(x), rtol=1e-10, atol=1e-10)
            seen += 1
    assert seen > 30
