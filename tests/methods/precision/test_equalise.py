from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.forms import Masked, attach, stored_of, weight_of
from camfit.methods.precision.equalise import equalised, pairs
from camfit.network import INPUT, Add, Network, Node
from camfit.plan import Plan, Replace
from camfit.surgery import apply
from methods.chain import chain, linear
from networks import inputs, random_network


def equalise(network: Network) -> Network:
    layers = equalised(network, tuple(network.weighted()))
    return apply(network, Plan("equalise", tuple(Replace(path, layer) for path, layer in layers.items())))


def neighbours(network: Network) -> list[tuple[str, str]]:
    return [(pair.first, pair.second) for pair in pairs(network, tuple(network.weighted()))]


def test_two_ranges_meet_in_their_geometric_mean() -> None:
    """Channel 0 reaches 8 and 2, so √16 = 4 on both sides; channel 1 reaches 1 and 9: 3. The bias goes along."""
    network = chain((2,), one=linear([[8.0, -4.0], [0.5, 1.0]]), relu=nn.ReLU(), two=linear([[2.0, -9.0], [1.0, 3.0]]))
    network.layer("one").bias = nn.Parameter(torch.tensor([6.0, 6.0]))
    done = equalise(network)
    assert weight_of(done.layer("one")).tolist() == [[4, -2], [1.5, 3]]
    assert done.layer("one").bias.tolist() == [3, 18]  # type: ignore[union-attr, operator]
    assert weight_of(done.layer("two")).tolist() == [[4, -3], [2, 1]]


@pytest.mark.parametrize("seed", range(40))
def test_the_function_stays_as_it_is(seed: int) -> None:
    network = random_network(seed).double()
    x = inputs(network, seed)
    with torch.no_grad():
        torch.testing.assert_close(equalise(network)(x), network(x), rtol=1e-9, atol=1e-9)


def test_random_networks_have_something_to_equalise() -> None:
    assert sum(len(neighbours(random_network(seed))) for seed in range(60)) > 20


def test_through_shuffles_pools_flatten_and_groups() -> None:
    network = chain(
        (2, 4, 4),
        first=nn.Conv2d(2, 6, 3, padding=1),
        relu1=nn.ReLU(),
        shuffle=nn.ChannelShuffle(2),
        depthwise=nn.Conv2d(6, 12, 3, padding=1, groups=6),
        pool=nn.AvgPool2d(3, 1, 1),
        grouped=nn.Conv2d(12, 4, 1, groups=2),
        relu2=nn.ReLU(),
        drop=nn.Dropout(),
        flatten=nn.Flatten(),
        fc=nn.Linear(64, 3),
    ).double()
    assert neighbours(network) == [("first", "depthwise"), ("depthwise", "grouped"), ("grouped", "fc")]
    with torch.no_grad():
        for layer in network.weighted().values():
            stored_of(layer).mul_(
                torch.logspace(-2, 2, len(stored_of(layer))).reshape(-1, *[1] * (stored_of(layer).dim() - 1))
            )
    done, x = equalise(network), inputs(network, 1)
    torch.testing.assert_close(done(x), network(x), rtol=1e-9, atol=1e-9)

    def uneven(layer: nn.Module) -> float:
        rows = weight_of(layer).detach().abs().flatten(1).amax(1)
        return float(rows.max() / rows.min())

    # Its output channels differed by 10⁴; its inputs now share that with the layer before.
    assert uneven(done.layer("first")) < uneven(network.layer("first")) / 10


def test_nothing_that_is_not_homogeneous_is_crossed() -> None:
    def pair_through(**between: nn.Module) -> bool:
        return bool(neighbours(chain((2,), one=nn.Linear(2, 2), **between, two=nn.Linear(2, 2))))

    assert pair_through() and pair_through(relu=nn.ReLU())
    assert not pair_through(six=nn.ReLU6()) and not pair_through(norm=nn.BatchNorm1d(2))
    assert not pair_through(softmax=nn.Softmax(1))
    nodes = (Node("one", "one", (INPUT,)), Node("two", "two", ("one",)), Node("add", "add", ("one", "two")))
    layers: dict[str, nn.Module] = {"one": nn.Linear(2, 2), "two": nn.Linear(2, 2), "add": Add()}
    assert not neighbours(Network(nodes, layers, (2,))), "another reader would see the scale"


def test_pruned_weights_stay_pruned_and_dead_channels_unscaled() -> None:
    network = chain((2,), one=linear([[8.0, 2.0], [3.0, 3.0]]), two=linear([[2.0, 0.0]]))
    attach(network.layer("one"), Masked(torch.tensor([[False, True], [True, True]])), weight_of(network.layer("one")))
    done = equalise(network)
    # The pruned 8 has no say: channel 0 reaches 2 and 2 already; nobody reads channel 1.
    assert weight_of(done.layer("one")).tolist() == [[0, 2], [3, 3]] and weight_of(done.layer("two")).tolist() == [
        [2, 0]
    ]
