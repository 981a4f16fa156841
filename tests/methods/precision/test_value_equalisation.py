from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.forms import weight_of
from camfit.methods.precision.placement import Placement
from camfit.methods.precision.value_equalisation import peaks, streams, value_equalised
from camfit.network import INPUT, Add, Network, Node
from camfit.plan import Plan, Replace
from camfit.surgery import apply
from methods.chain import chain, linear
from networks import inputs, random_network


def equalise(network: Network, x: torch.Tensor) -> Network:
    paths = tuple(network.weighted())
    behind = {name for group in Placement(network, paths).groups for name in group}
    layers = value_equalised(network, paths, behind, x)
    return apply(network, Plan("values", tuple(Replace(path, layer) for path, layer in layers.items())))


def test_two_channels_get_one_range() -> None:
    """Behind the ReLU they reach 8 and 2: the second is made four times larger, and its reader's column smaller."""
    network = chain((2,), one=linear([[8.0, 0.0], [0.0, 2.0]]), relu=nn.ReLU(), two=linear([[1.0, 12.0]]))
    network.layer("one").bias = nn.Parameter(torch.tensor([0.0, 0.0]))
    done = equalise(network, torch.eye(2))
    assert weight_of(done.layer("one")).tolist() == [[8, 0], [0, 8]]
    assert weight_of(done.layer("two")).tolist() == [[1, 3]]


def residual() -> Network:
    """A stream of two producers and two readers around an addition."""
    nodes = (
        Node("a", "a", (INPUT,)),
        Node("b", "b", ("a",)),
        Node("add", "add", ("a", "b")),
        Node("c", "c", ("add",)),
    )
    layers: dict[str, nn.Module] = {
        "a": linear([[1.0, 0.0], [0.0, 8.0]]),
        "b": linear([[1.0, 0.0], [0.0, 1.0]]),
        "add": Add(),
        "c": linear([[1.0, 1.0]]),
    }
    return Network(nodes, layers, (2,))


def test_an_addition_ties_what_it_adds() -> None:
    """The sums reach 2 and 16: the first channel is made eight times larger by both producers, and read so by both."""
    network = residual()
    (stream,) = streams(network, tuple(network.weighted()))
    assert (stream.producers, stream.readers) == (("a", "b"), ("b", "c"))
    done = equalise(network, torch.eye(2))
    assert weight_of(done.layer("a")).tolist() == [[8, 0], [0, 8]]
    assert weight_of(done.layer("b")).tolist() == [[1, 0], [0, 1]]
    assert weight_of(done.layer("c")).tolist() == [[0.125, 1]]


def test_what_others_make_or_read_stays() -> None:
    network = residual()
    assert streams(network, ("a", "c")) == [], "b is kept as it is"
    softmax = chain((2,), one=nn.Linear(2, 2), softmax=nn.Softmax(1), two=nn.Linear(2, 2))
    assert streams(softmax, ("one", "two")) == []


@pytest.mark.parametrize("seed", range(40))
def test_the_function_stays_as_it_is_on_what_was_seen(seed: int) -> None:
    network = random_network(seed).double()
    x = inputs(network, seed)
    with torch.no_grad():
        torch.testing.assert_close(equalise(network, x)(x), network(x), rtol=1e-9, atol=1e-9)


def test_through_relu6_up_to_its_limit() -> None:
    """A depthwise reader: channels reach 6 and 1.5, so s = (1, 1/2); behind the ReLU6 the second reaches 3."""
    first, second = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, groups=2, bias=False)
    last = nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[6.0, 0.0], [0.0, 1.5]]).reshape(2, 2, 1, 1))
        second.weight.copy_(torch.tensor([1.0, 4.0]).reshape(2, 1, 1, 1))
    network = chain((2, 1, 1), first=first, six=nn.ReLU6(), second=second, last=last)
    x = torch.eye(2).reshape(2, 2, 1, 1)
    layers = value_equalised(network, ("first", "second"), {"six"}, x)
    done = apply(network, Plan("values", tuple(Replace(path, layer) for path, layer in layers.items())))
    assert weight_of(done.layer("first")).flatten().tolist() == [6, 0, 0, 3]
    assert weight_of(done.layer("second")).flatten().tolist() == [1, 2]
    assert peaks(done, {"six"}, x)["six"].tolist() == [6, 3]
    twice = 2 * x
    torch.testing.assert_close(done(twice), network(twice))
    assert not torch.allclose(done(5 * x), network(5 * x)), "7.5 was cut off at 6, and is at 3 now"
