from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from torch import nn

from camfit.forms import weight_of
from camfit.methods.precision import value_equalisation
from camfit.methods.precision.folding import Weighted
from camfit.methods.precision.observe import Channels, observe
from camfit.methods.precision.placement import Placement
from camfit.methods.precision.value_equalisation import (
    Equalised,
    Reader,
    best_scale,
    relative_error,
    streams,
    value_equalised,
    watched,
)
from camfit.network import INPUT, Add, Network, Node
from camfit.plan import Plan, Replace
from camfit.surgery import apply
from methods.chain import chain, linear
from networks import inputs, random_network


def layers(network: Network, x: torch.Tensor, paths: Collection[str]) -> dict[str, Weighted]:
    return made(network, x, paths).layers


def made(network: Network, x: torch.Tensor, paths: Collection[str]) -> Equalised:
    found = streams(network, paths)
    behind = {name for group in Placement(network, paths).groups for name in group}
    return value_equalised(network, found, behind, channels(network, watched(network, found, behind), x))


def channels(network: Network, names: Collection[str], x: torch.Tensor) -> dict[str, Channels]:
    return observe(network, x, channels=names).channels


def equalise(network: Network, x: torch.Tensor, paths: Collection[str] = ()) -> Network:
    new = layers(network, x, paths or tuple(network.weighted()))
    return apply(network, Plan("values", tuple(Replace(path, layer) for path, layer in new.items())))


def test_two_channels_get_one_range_where_each_has_its_own_reader() -> None:
    """Behind the ReLU they reach 8 and 2. Depthwise rows pay nothing: the second is made four times larger."""
    first, second = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, groups=2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[8.0, 0.0], [0.0, 2.0]]).reshape(2, 2, 1, 1))
        second.weight.copy_(torch.tensor([1.0, 12.0]).reshape(2, 1, 1, 1))
    done = equalise(chain((2, 1, 1), one=first, relu=nn.ReLU(), two=second), torch.eye(2).reshape(2, 2, 1, 1))
    assert weight_of(done.layer("one")).flatten().tolist() == [8, 0, 0, 8]
    assert weight_of(done.layer("two")).flatten().tolist() == [1, 3]


def test_the_scale_is_that_of_the_least_error_counted_by_hand() -> None:
    """Peaks 8 and 2, variances 16 and 1, the second channel 0 in half of all places, one row (1, w): with s = 4^-a for
    the second channel the steps are 8/255 of the value and max(1, w s)/127 of the row, so twelve times the error is
    (8/255)² (1 + w² s² / 2) + (max(1, w s)/127)² (16 + 1/s²)."""
    seen = Channels(torch.tensor([-4.0, 0.0]), torch.tensor([8.0, 2.0]), torch.tensor([[4.0, 2.0], [-4.0, 0.0]]))

    def error(w: float, eighths: int) -> float:
        s = 4.0 ** (-eighths / 8)
        return (8 / 255) ** 2 * (1 + w**2 * s**2 / 2) + (max(1.0, w * s) / 127) ** 2 * (16 + 1 / s**2)

    chosen = []
    for w in (0.1, 1.0, 2.0, 12.0):
        best = min(range(9), key=lambda eighths: error(w, eighths))
        best = best if error(w, best) < error(w, 0) / 2 else 0
        found = best_scale(seen.peak, [Reader(linear([[1.0, w]]), seen)], 127, 1.0)
        assert found.tolist() == pytest.approx([1.0, 4.0 ** (-best / 8)])
        chosen.append(best)
    assert chosen[0] == 0 and chosen[-1] == 8, "small weights gain nothing, large ones all there is"


def test_a_model_of_even_errors_foretells_what_rounding_does() -> None:
    """The variance that is predicted against that of 4096 outputs with rounded weights and values, over 200 rows."""
    torch.manual_seed(0)
    x = torch.randn(4096, 64).double() * torch.logspace(-1.5, 0, 64).double()
    x[torch.rand_like(x) < 0.5] = 0
    layer = nn.Linear(64, 200, bias=False).double()
    seen = channels(chain((64,), same=nn.Dropout(), layer=layer).double().eval(), {"same"}, x)["same"]
    for a in (0.0, 0.5, 1.0):
        peak = x.abs().amax(0)
        scale = (peak / peak.max()).pow(a)
        value, weight = x / scale, layer.weight.detach() * scale
        step, rows = float(value.abs().amax()) / 127, weight.abs().amax(1, keepdim=True) / 127
        off = ((value / step).round() * step) @ ((weight / rows).round() * rows).T - value @ weight.T
        predicted = relative_error(Reader(layer, seen), step, scale, 127)
        output = float((layer.weight.detach().square() @ seen.variance).sum())
        assert float(off.var(0).sum()) / output == pytest.approx(predicted, rel=0.1)


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


def test_an_addition_ties_what_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first channel is made larger, by both producers alike, and read so by both; what is in b cancels."""
    monkeypatch.setattr(value_equalisation, "_WORTH", 1.0)
    network = residual()
    (stream,) = streams(network, tuple(network.weighted()))
    assert (stream.producers, stream.readers) == (("a", "b"), ("b", "c"))
    done = equalise(network, torch.eye(2))
    (larger, _), (_, same) = weight_of(done.layer("a")).tolist()
    assert larger > 1 and same == 8
    torch.testing.assert_close(weight_of(done.layer("b")), torch.eye(2))
    torch.testing.assert_close(weight_of(done.layer("c")), torch.tensor([[1 / larger, 1.0]]))


def test_what_only_additions_stand_between_is_centred_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """On (1, 0) and (0, 1) a makes (1, 0) and (0, 8), middles (1/2, 4); b makes the same, so the sum's are twice these.
    b reads a's: its bias is W·(1/2, 4) less its own middles, which is 0; c gets (1, 1)·(1, 8) = 9."""
    monkeypatch.setattr(value_equalisation, "_WORTH", 0.0)
    network = residual()
    found = made(network, torch.eye(2), tuple(network.weighted()))
    biases = {path: layer.bias.tolist() for path, layer in found.layers.items() if layer.bias is not None}
    assert biases == {"a": [-0.5, -4], "b": [0, 0], "c": [9]}
    assert {name: move.shift.tolist() for name, move in found.moves.items()} == {
        "a": [0.5, 4], "b": [0.5, 4], "add": [1, 8],
    }  # fmt: skip
    done = equalise(network, torch.eye(2))
    x = torch.randn(5, 2)
    torch.testing.assert_close(done(x), network(x))
    seen = channels(done, {"add"}, torch.eye(2))["add"]
    assert (seen.low.tolist(), seen.high.tolist()) == ([-1, -8], [1, 8])


@pytest.mark.parametrize("reader", ["padded", "behind a ReLU", "grouped"])
def test_no_constant_is_taken_off_where_zeros_must_stay(reader: str) -> None:
    first = nn.Conv2d(2, 2, 1)
    second = nn.Conv2d(2, 2, 1, padding=int(reader == "padded"), groups=2 if reader == "grouped" else 1)
    between: dict[str, nn.Module] = {"relu": nn.ReLU()} if reader == "behind a ReLU" else {}
    network = chain((2, 4, 4), first=first, **between, second=second)
    found = made(network, torch.randn(3, 2, 4, 4) + 1, ("first", "second"))
    assert not any(bool(move.shift.any()) for move in found.moves.values())


@pytest.mark.parametrize("seed", range(20))
def test_what_was_seen_is_moved_as_the_network_is(seed: int) -> None:
    """Without a second run: channels, histograms and means of the new network's values, from those of the old one's."""
    network = random_network(seed).double()
    x = inputs(network, seed)
    paths = tuple(network.weighted())
    found = streams(network, paths)
    behind = {name for group in Placement(network, paths).groups for name in group}
    means = {network.calls(path)[0].name for path in paths if len(network.calls(path)) == 1}
    seen = observe(network, x, behind, means, watched(network, found, behind))
    equal = value_equalised(network, found, behind, seen.channels)
    edits = tuple(Replace(path, layer) for path, layer in equal.layers.items())
    again = observe(apply(network, Plan("values", edits)), x, behind, means, watched(network, found, behind))
    moved = seen.moved(equal.moves)
    for name, expected in again.channels.items():
        for one, other in zip(
            (expected.low, expected.high, expected.sample),
            (moved.channels[name].low, moved.channels[name].high, moved.channels[name].sample),
            strict=True,
        ):
            torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-9)
    for name in behind:
        assert moved.histograms[name].low == pytest.approx(again.histograms[name].low, abs=1e-9)
        assert moved.histograms[name].high == pytest.approx(again.histograms[name].high, abs=1e-9)
    for name in means:
        torch.testing.assert_close(moved.means[name], again.means[name], rtol=1e-9, atol=1e-9)


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
    done = equalise(network, x, ("first", "second"))
    assert weight_of(done.layer("first")).flatten().tolist() == [6, 0, 0, 3]
    assert weight_of(done.layer("second")).flatten().tolist() == [1, 2]
    assert channels(done, {"six"}, x)["six"].peak.tolist() == [6, 3]
    twice = 2 * x
    torch.testing.assert_close(done(twice), network(twice))
    assert not torch.allclose(done(5 * x), network(5 * x)), "7.5 was cut off at 6, and is at 3 now"
