from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import BudgetError
from camfit.evaluate import Samples, evaluate
from camfit.forms import Codebook, Masked, attach, weight_of
from camfit.network import Network
from camfit.sensitivity import FRACTIONS, Curves, keep_fractions, sensitivity
from camfit.storage import network_bytes
from camfit.tasks import Task, classification
from methods.chain import chain


def small() -> Network:
    torch.manual_seed(0)
    return chain((6,), a=nn.Linear(6, 12), relu=nn.ReLU(), b=nn.Linear(12, 3))


def data(count: int = 60) -> Samples:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return Samples(inputs, small()(inputs).argmax(1))


def random_curve(chosen: random.Random) -> list[tuple[float, float]]:
    """A curve that falls strictly."""
    metric, curve = 0.9, [(1.0, 0.9)]
    for fraction in FRACTIONS:
        metric -= chosen.uniform(0.001, 0.09)
        curve.append((fraction, metric))
    return curve


def convex_curve(chosen: random.Random) -> list[tuple[float, float]]:
    """A curve whose loss grows ever faster with the fraction's logarithm, so that it is convex in the fraction."""
    metric, curve, pace = 0.9, [(1.0, 0.9)], 0.0
    for before, fraction in itertools.pairwise((1.0, *FRACTIONS)):
        pace += chosen.uniform(0.001, 0.03)
        metric -= pace * math.log(before / fraction)
        curve.append((fraction, metric))
    return curve


def loss_at(curve: list[tuple[float, float]], fraction: float) -> float:
    """Interpolated on the fraction's logarithm."""
    for (before, high), (after, low) in itertools.pairwise(curve):
        if fraction >= after:
            part = math.log(before / fraction) / math.log(before / after)
            return curve[0][1] - (high + part * (low - high))
    raise AssertionError("below the curve")


# -- the curves ------------------------------------------------------------------------------------------------


def test_a_curve_prunes_one_layer_by_magnitude() -> None:
    network, samples = small(), data()
    before = network_bytes(network)
    curves = sensitivity(network, samples, classification(), macs=100)
    assert list(curves) == ["a", "b"]
    for path, curve in curves.items():
        assert [fraction for fraction, _ in curve] == [1.0, *FRACTIONS]
        assert curve[0][1] == 1.0
        for fraction, metric in curve:
            trial = network.clone()
            weight = trial.layer(path).weight
            assert isinstance(weight, Tensor)
            count = max(1, round(fraction * weight.numel()))
            border = weight.detach().abs().flatten().sort(descending=True).values[count - 1]
            with torch.no_grad():
                weight.mul_(weight.abs() >= border)
            assert int((weight != 0).sum()) == count
            assert metric == pytest.approx(evaluate(trial, samples, classification()))
    assert curves["a"][-1][1] < 0.8
    assert network_bytes(network) == before


def test_a_layer_in_a_form_loses_weights_like_its_dense_twin() -> None:
    network = small()
    torch.manual_seed(1)
    attach(network.layer("a"), Masked(torch.rand(12, 6) < 0.9), torch.randn(12, 6))
    attach(network.layer("b"), Codebook(torch.randint(0, 4, (3, 12)), 4), torch.randn(4))
    dense = network.clone()
    for layer in dense.weighted().values():
        attach(layer, None, weight_of(layer))
    with torch.no_grad():
        samples = Samples(data().inputs, network(data().inputs).argmax(1))
    curves = sensitivity(network, samples, classification(), macs=100)
    assert curves == sensitivity(dense, samples, classification(), macs=100)
    assert all(curve[0][1] == 1.0 > curve[-1][1] for curve in curves.values())


def test_large_networks_look_at_fewer_images() -> None:
    seen: list[int] = []

    def metric(outputs: object, targets: Tensor) -> float:
        seen.append(len(targets))
        return 0.0

    counting = Task("count", "count", classification().loss, metric)  # type: ignore[arg-type]
    for macs, images in ((1, 2000), (10**12, 200), (60_000_000, 555)):
        seen.clear()
        sensitivity(small(), data(3000), counting, macs)
        assert set(seen) == {images}, "6·10¹¹ multiply-accumulates over 2 layers and 9 fractions, within 200 to 2,000"
    assert len(seen) == 1 + 2 * len(FRACTIONS)


def test_the_seed_draws_the_images() -> None:
    big = data(3000)
    draws = []
    for seed in (1, 1, 2):
        seen: list[Tensor] = []
        task = Task("see", "see", classification().loss, lambda _, targets, seen=seen: float(seen.append(targets) or 0))  # type: ignore[misc, arg-type, func-returns-value]
        sensitivity(small(), big, task, 10**12, seed)
        draws.append(seen[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


# -- sharing a density -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_density_is_met_and_no_exchange_loses_less(seed: int) -> None:
    """Curves that are convex in the fraction kept: moving weights from any layer to any other never saves loss."""
    chosen = random.Random(seed)
    curves: Curves = {name: convex_curve(chosen) for name in "abcd"}
    sizes = {name: chosen.randint(10_000, 100_000) for name in "abcd"}
    total = sum(sizes.values())
    for density in (0.05, 0.2, 0.5, 0.9):
        shares = keep_fractions(curves, sizes, density)
        assert sum(shares[name] * sizes[name] for name in sizes) == pytest.approx(density * total, rel=1e-6)
        best = sum(loss_at(curves[name], shares[name]) for name in sizes)
        for giver, taker in itertools.permutations(sizes, 2):
            for weights in (1000, 4000):
                moved = dict(shares)
                moved[giver] -= weights / sizes[giver]
                moved[taker] += weights / sizes[taker]
                if moved[giver] >= 0.01 and moved[taker] <= 1:
                    assert sum(loss_at(curves[name], moved[name]) for name in sizes) >= best - 1e-5


def test_the_optimum_by_hand() -> None:
    """Loss ln(1/f)/10 in both: the derivative by weights kept, 1/(10·f·size), is equal where f·size is."""
    curves = {name: [(f, 0.9 - math.log(1 / f) / 10) for f in (1.0, *FRACTIONS)] for name in ("large", "small")}
    shares = keep_fractions(curves, {"large": 100_000, "small": 10_000}, 0.1)
    assert shares["large"] * 100_000 == pytest.approx(5500, rel=0.05)
    assert shares["small"] * 10_000 == pytest.approx(5500, rel=0.05)
    tight = keep_fractions(curves, {"large": 100_000, "small": 500}, 0.1)
    assert tight["small"] == 1.0, "a small layer stays whole"


def test_a_layer_that_nobody_misses_goes_first() -> None:
    """Layer a loses nothing down to 1 %, b loses a tenth at every step; half of both is to stay."""
    steps = [1.0, *FRACTIONS]
    curves = {"a": [(f, 0.9) for f in steps], "b": [(f, 0.9 - 0.1 * n) for n, f in enumerate(steps)]}
    shares = keep_fractions(curves, {"a": 1000, "b": 1000}, 0.505)
    assert shares["b"] == pytest.approx(0.995, abs=0.006) and shares["a"] == pytest.approx(0.016, abs=0.006)


def test_flat_curves_share_alike() -> None:
    """Where no layer loses anything, the density still holds."""
    curves = {name: [(f, 0.9) for f in (1.0, *FRACTIONS)] for name in "ab"}
    shares = keep_fractions(curves, {"a": 5000, "b": 20_000}, 0.3)
    assert shares["a"] == pytest.approx(0.3) and shares["b"] == pytest.approx(0.3)


def test_a_bump_upwards_is_no_gain() -> None:
    """A layer that seems to get better by losing weights is held at the worst it was before."""
    bumpy = {
        "a": [(1.0, 0.9), (0.6, 0.5), (0.4, 0.89), (0.01, 0.1)],
        "b": [(1.0, 0.9), (0.6, 0.5), (0.4, 0.5), (0.01, 0.1)],
    }
    shares = keep_fractions(bumpy, {"a": 1000, "b": 1000}, 0.35)
    assert shares["a"] == pytest.approx(shares["b"])


def test_more_density_takes_nothing_from_any_layer() -> None:
    chosen = random.Random(1)
    curves: Curves = {name: random_curve(chosen) for name in "abc"}
    sizes = {"a": 500, "b": 20_000, "c": 3_000}
    previous = dict.fromkeys(sizes, 0.0)
    for percent in range(1, 101):
        shares = keep_fractions(curves, sizes, percent / 100)
        assert all(shares[name] >= previous[name] - 1e-9 for name in sizes)
        previous = shares
    assert previous == pytest.approx(dict.fromkeys(sizes, 1.0))


def test_below_the_curves_all_layers_shrink_alike_but_none_is_emptied() -> None:
    curves = {name: [(f, 0.9 - (1 - f) / 2) for f in (1.0, *FRACTIONS)] for name in ("large", "small", "tiny")}
    shares = keep_fractions(curves, {"large": 1_000_000, "small": 8000, "tiny": 10}, 0.001)
    assert shares["large"] == pytest.approx(0.001, rel=0.01)
    assert shares["small"] * 8000 == pytest.approx(16) and shares["tiny"] == 1.0


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, math.nan])
def test_a_density_is_a_fraction(density: float) -> None:
    with pytest.raises(BudgetError, match=f"density {density}: expected above 0 and at most 1"):
        keep_fractions({"a": [(1.0, 0.9), (0.1, 0.5)]}, {"a": 100}, density)
