from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.evaluate import Samples
from camfit.forms import Masked, form_of, stored_of
from camfit.methods.pruning.magnitude import Magnitude, density, masked_layers
from camfit.network import Network
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, train
from methods.chain import CALIBRATION, chain, linear


def one(*weights: float) -> Network:
    return chain((len(weights),), fc=linear([list(weights)]))


def weight(network: Network, path: str = "fc") -> Tensor:
    return network.weighted()[path].weight.detach()  # type: ignore[operator, union-attr, return-value]


def pruned(network: Network, options: Magnitude) -> Network:
    return apply(network, options.plan(network, CALIBRATION))


def perceptron(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return chain((10,), fc1=nn.Linear(10, 20), relu=nn.ReLU(), drop=nn.Dropout(0.5), fc2=nn.Linear(20, 4))


def test_the_threshold_is_quality_times_the_standard_deviation() -> None:
    """1, −1, 3, −3: σ = √5 = 2.236, so 0.44 gives 0.984 and 0.46 gives 1.029."""
    network = one(1.0, -1.0, 3.0, -3.0)
    assert weight(pruned(network, Magnitude(quality=0.44))).tolist() == [[1, -1, 3, -3]]
    assert weight(pruned(network, Magnitude(quality=0.46))).tolist() == [[0, 0, 3, -3]]


def test_the_deviation_is_about_the_mean_and_the_size_about_zero() -> None:
    """5, 6, 7: σ = √(2/3) = 0.816 although all weights are far from zero."""
    assert weight(pruned(one(5.0, 6.0, 7.0), Magnitude(quality=6.0))).tolist() == [[5, 6, 7]]
    assert weight(pruned(one(5.0, 6.0, 7.0), Magnitude(quality=6.2))).tolist() == [[0, 6, 7]]


def test_the_deviation_is_that_of_the_weights_that_are_left() -> None:
    """4, −4, 1, −1 beside two zeros: σ = √8.5 = 2.915; with the zeros it would be 2.380 and spare ±1 at 0.4."""
    assert weight(pruned(one(4.0, -4.0, 1.0, -1.0, 0.0, 0.0), Magnitude(quality=0.4))).tolist() == [[4, -4, 0, 0, 0, 0]]


def test_pruned_weights_stay_pruned_in_later_rounds() -> None:
    network = perceptron()
    gone = {path: torch.zeros_like(weight(network, path), dtype=torch.bool) for path in network.weighted()}
    for options in (Magnitude(quality=0.5), Magnitude(quality=0.0), Magnitude(keep={"fc1": 1.0, "fc2": 1.0})):
        network = pruned(network, options)
        for path in gone:
            now = weight(network, path) == 0
            assert bool((now >= gone[path]).all())
            gone[path] = now
    assert 0.3 < density(network) < 0.8
    assert masked_layers(network) == ("fc1", "fc2")


def test_a_weight_that_is_zero_already_counts_as_pruned() -> None:
    form = form_of(pruned(one(0.0, 1.0, -1.0), Magnitude(quality=0.0)).layer("fc"))
    assert isinstance(form, Masked) and form.mask.tolist() == [[False, True, True]]


@pytest.mark.parametrize("share", [0.001, 0.1, 0.333, 0.5, 0.99, 1.0])
def test_a_fraction_to_keep_is_exact_and_keeps_the_largest(share: float) -> None:
    network = perceptron()
    result = pruned(network, Magnitude(keep={"fc1": share}, skip=("fc2",)))
    before, alive = weight(network, "fc1").abs(), weight(result, "fc1") != 0
    assert int(alive.sum()) == max(1, round(share * 200))
    if share < 1:
        assert float(before[alive].min()) >= float(before[~alive].max())
    assert form_of(result.layer("fc2")) is None


def test_a_fraction_counts_all_weights_also_those_already_pruned() -> None:
    network = pruned(perceptron(), Magnitude(keep={"fc1": 0.5, "fc2": 0.5}))
    again = pruned(network, Magnitude(keep={"fc1": 0.25, "fc2": 0.25}))
    assert [int((weight(again, path) != 0).sum()) for path in ("fc1", "fc2")] == [50, 20]


def test_a_sparsity_takes_the_place_of_the_threshold() -> None:
    network = perceptron()
    uniform = pruned(network, Magnitude(sparsity=0.75))
    assert [int((weight(uniform, path) != 0).sum()) for path in ("fc1", "fc2")] == [50, 20]
    whole = pruned(network, Magnitude(sparsity=0.75, allocation="global"))
    sizes = torch.cat([weight(network, path).abs().flatten() for path in ("fc1", "fc2")])
    least = float(sizes.sort(descending=True).values[69])
    for path in ("fc1", "fc2"):
        assert torch.equal(weight(whole, path) != 0, weight(network, path).abs() >= least)
    named = pruned(network, Magnitude(sparsity=0.75, keep={"fc2": 1.0}))
    assert [int((weight(named, path) != 0).sum()) for path in ("fc1", "fc2")] == [50, 80]


def test_the_qualities_of_layers_differ() -> None:
    network = perceptron()
    result = pruned(network, Magnitude(quality=0.0, qualities={"fc2": 1.0}))
    assert bool((weight(result, "fc1") == weight(network, "fc1")).all())
    sigma = float(weight(network, "fc2").std(correction=0))
    assert torch.equal(weight(result, "fc2") != 0, weight(network, "fc2").abs() >= sigma)


def test_dropout_shrinks_with_the_capacity_behind_it() -> None:
    """D_r = D_o·√(C_r/C_o): 0.5·√(20/80) = 0.25; then 5 of 80 connections are left, and 0.5·√(5/80) = 0.125."""
    network = pruned(perceptron(), Magnitude(keep={"fc1": 0.9, "fc2": 0.25}))
    assert network.get_submodule("drop").p == pytest.approx(0.25)
    network = pruned(network, Magnitude(keep={"fc1": 0.8, "fc2": 0.0625}))
    assert network.get_submodule("drop").p == pytest.approx(0.125)


def test_dropout_stays_where_nothing_behind_it_is_pruned() -> None:
    assert pruned(perceptron(), Magnitude(skip=("fc2",))).get_submodule("drop").p == 0.5
    assert pruned(perceptron(), Magnitude(reduce_dropout=False)).get_submodule("drop").p == 0.5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_retraining_leaves_pruned_weights_at_exactly_zero(optimizer: str) -> None:
    network = pruned(perceptron(), Magnitude(keep={"fc1": 0.3, "fc2": 0.3}))
    zero = {path: weight(network, path) == 0 for path in network.weighted()}
    before = {path: weight(network, path).clone() for path in zero}
    generator = torch.Generator().manual_seed(1)
    samples = Samples(torch.randn(64, 10, generator=generator), torch.randint(0, 4, (64,), generator=generator))
    options = Train(3, 0.05, batch_size=16, optimizer=optimizer, weight_decay=1e-2)  # type: ignore[arg-type]
    train(network, samples, samples, classification(), options)
    for path, gone in zero.items():
        assert bool((weight(network, path)[gone] == 0).all())
        assert bool((weight(network, path)[~gone] != before[path][~gone]).all()), "the others were to train"
        gradient = stored_of(network.layer(path)).grad
        assert gradient is not None and bool((gradient[gone] == 0).all())
        assert isinstance(form_of(network.layer(path)), Masked)


def test_a_layer_without_any_weight_left_is_left_alone() -> None:
    assert weight(pruned(one(0.0, 0.0), Magnitude())).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": -0.1}, "quality is -0.1, expected 0 or more"),
        ({"quality": float("nan")}, "quality is nan, expected 0 or more"),
        ({"qualities": {"fc": -1.0}}, "qualities.fc is -1.0, expected 0 or more"),
        ({"keep": {"fc": 0.0}}, "keep.fc is 0.0, expected above 0 and at most 1"),
        ({"keep": {"fc": 1.1}}, "keep.fc is 1.1, expected above 0 and at most 1"),
        ({"sparsity": 1.0}, r"sparsity is 1.0, expected in \[0, 1\)"),
        ({"sparsity": 0.5, "qualities": {"fc": 1.0}}, "sparsity is 0.5 and qualities are given, expected one of them"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"magnitude: {message}"):
        Magnitude(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"keep": {"fc3": 0.5}}, {"qualities": {"fc3": 1.0}}, {"skip": ("fc3",)}])
def test_a_layer_that_is_not_there_is_named(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="magnitude: no layer 'fc3'.*expected one of fc1, fc2"):
        Magnitude(**options).plan(perceptron(), CALIBRATION)  # type: ignore[arg-type]
