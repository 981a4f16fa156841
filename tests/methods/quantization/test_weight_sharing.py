from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.evaluate import Samples
from camfit.forms import Codebook, Masked, attach, form_of
from camfit.method import Calibration
from camfit.methods.pruning.magnitude import Magnitude
from camfit.methods.quantization.weight_sharing import WeightSharing, initial_centroids, kmeans
from camfit.network import Network
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, train
from methods.chain import CALIBRATION, chain, linear

STARTS = ("linear", "density", "forgy")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight(network: Network, path: str) -> Tensor:
    return network.weighted()[path].weight.detach()  # type: ignore[operator, union-attr, return-value]


def shared(network: Network, options: WeightSharing, seed: int = 0) -> Network:
    plan = options.plan(network, Calibration(CALIBRATION.inputs, CALIBRATION.targets, seed))
    return apply(network, plan)


def perceptron() -> Network:
    torch.manual_seed(0)
    return chain((10,), fc1=nn.Linear(10, 20), relu=nn.ReLU(), fc2=nn.Linear(20, 4))


def squared_error(values: Tensor, centroids: Tensor) -> float:
    """Sum of squared distances to the nearest centroid, all pairs compared."""
    return float((values[:, None].double() - centroids[None, :].double()).square().min(1).values.sum())


# -- k-means ---------------------------------------------------------------------------------------------------


def test_two_clusters() -> None:
    centroids, labels = kmeans(torch.tensor([12.0, 1.0, 10.0, 2.0]), 2, "linear", generator())
    assert centroids.tolist() == [1.5, 11.0]
    assert labels.tolist() == [1, 0, 1, 0]


def test_centroids_move_until_they_stand() -> None:
    """From 2 and 3: 0 2 | 3 4 6 7 8 has the means 1 and 5.6, so 3 changes sides; 0 2 3 | 4 6 7 8 has 5/3 and 6.25."""
    assert kmeans(torch.tensor([0.0, 1, 2, 3, 9]), 2, "linear", generator())[0].tolist() == [1.5, 9.0]
    weights = torch.tensor([0.0, 2, 3, 4, 6, 7, 8])
    centroids, labels = kmeans(weights, 2, "forgy", _forgy_that_draws(weights, [2.0, 3.0]))
    assert centroids.tolist() == pytest.approx([5 / 3, 6.25])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1]


def _forgy_that_draws(weights: Tensor, wanted: list[float]) -> torch.Generator:
    """A generator whose Forgy draw from these weights is ``wanted``."""
    for seed in range(1000):
        if initial_centroids(weights, len(wanted), "forgy", generator(seed)).tolist() == wanted:
            return generator(seed)
    raise AssertionError("no seed below 1000 draws these weights")


def test_linear_start_divides_the_range_evenly() -> None:
    assert initial_centroids(torch.tensor([-1.0, 0, 1, 7]), 5, "linear", generator()).tolist() == [-1, 1, 3, 5, 7]


def test_density_start_puts_equally_many_weights_between_neighbours() -> None:
    skewed = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 100.0])
    assert initial_centroids(skewed, 4, "density", generator()).tolist() == pytest.approx([0.1, 0.3, 0.5, 100.0])


def test_forgy_start_draws_weights_by_the_seed() -> None:
    weights = torch.arange(100.0) ** 1.5
    draws = [initial_centroids(weights, 7, "forgy", generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    for draw in draws:
        assert len(set(draw.tolist())) == 7 and set(draw.tolist()) <= set(weights.tolist())
        assert draw.tolist() == sorted(draw.tolist())


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("seed", range(4))
def test_lloyd_ends_in_a_fixed_point_that_is_no_worse_than_its_start(start: str, seed: int) -> None:
    weights = torch.randn(400, generator=generator(seed)) ** 3
    for count in (1, 2, 7, 32):
        begin = initial_centroids(weights.sort().values, count, start, generator(seed))  # type: ignore[arg-type]
        centroids, labels = kmeans(weights, count, start, generator(seed))  # type: ignore[arg-type]
        error = squared_error(weights, centroids)
        assert error <= squared_error(weights, begin) * (1 + 1e-6)
        # Each weight is at its nearest centroid (assigned by brute force), each centroid at the mean of its weights.
        assert float((weights - centroids[labels]).double().square().sum()) == pytest.approx(error, rel=1e-6)
        means = torch.stack([weights[labels == k].double().mean() for k in range(len(centroids))])
        torch.testing.assert_close(means.float(), centroids, rtol=1e-5, atol=1e-6)
        assert len(centroids) <= count and bool((centroids[1:] > centroids[:-1]).all())


def test_on_few_weights_the_best_start_finds_the_optimum() -> None:
    """All partitions of 9 sorted weights into 3 runs, by brute force."""
    for seed in range(10):
        weights = torch.randn(9, generator=generator(seed)).sort().values
        cuts = itertools.combinations(range(1, 9), 2)
        best = min(
            sum(float((part - part.mean()).square().sum()) for part in weights.tensor_split(list(cut))) for cut in cuts
        )
        found = [
            squared_error(weights, kmeans(weights, 3, start, generator(draw))[0])  # type: ignore[arg-type]
            for start in STARTS
            for draw in range(10 if start == "forgy" else 1)
        ]
        assert min(found) == pytest.approx(best, rel=1e-4, abs=1e-7)


def test_as_many_clusters_as_different_weights_lose_nothing() -> None:
    weights = torch.tensor([3.0, -1.0, 3.0, 0.5, -1.0])
    for start in STARTS:
        centroids, labels = kmeans(weights, 16, start, generator())  # type: ignore[arg-type]
        if start == "linear":
            assert torch.equal(centroids[labels], weights)
        assert len(centroids) <= 3


# -- the plan --------------------------------------------------------------------------------------------------


def test_every_layer_gets_its_codebook_of_two_to_the_bits() -> None:
    network = perceptron()
    result = shared(network, WeightSharing(bits=3, layer_bits={"fc2": 2}))
    for path, entries in (("fc1", 8), ("fc2", 4)):
        form = form_of(result.layer(path))
        assert isinstance(form, Codebook)
        assert form.entries == entries == len(weight(result, path).unique())
        nearest = (weight(network, path)[..., None] - result.layer(path).parametrizations.weight.original).abs().min(-1)  # type: ignore[union-attr, operator]
        torch.testing.assert_close((weight(network, path) - weight(result, path)).abs(), nearest.values)


def test_a_codebook_need_not_be_a_power_of_two() -> None:
    form = form_of(shared(perceptron(), WeightSharing(entries={"fc1": 5}, skip=("fc2",))).layer("fc1"))
    assert isinstance(form, Codebook) and form.entries == 5


def test_pruned_weights_take_no_part_and_stay_zero_while_centroids_train() -> None:
    network = apply(perceptron(), Magnitude(keep={"fc1": 0.4, "fc2": 0.5}).plan(perceptron(), CALIBRATION))
    gone = {path: weight(network, path) == 0 for path in ("fc1", "fc2")}
    result = shared(network, WeightSharing(bits=2))
    before = {path: weight(result, path).clone() for path in gone}
    samples = Samples(torch.randn(64, 10, generator=generator(1)), torch.arange(64) % 4)
    train(result, samples, samples, classification(), Train(3, 0.01, batch_size=16, weight_decay=0.1))
    for path, zero in gone.items():
        now = weight(result, path)
        assert torch.equal(before[path] == 0, zero) and torch.equal(now == 0, zero)
        assert len(now[~zero].unique()) == 4
        assert bool((now[~zero] != before[path][~zero]).all()), "the centroids were to train"
        # Weights that shared a value share one still.
        for value in before[path].unique():
            assert len(now[before[path] == value].unique()) == 1


def test_a_layer_whose_weights_are_all_pruned_stays_empty() -> None:
    network = chain((3,), fc=linear([[0.0, 0.0, 0.0]]))
    assert weight(shared(network, WeightSharing()), "fc").tolist() == [[0, 0, 0]]


def test_the_notes_carry_the_squared_error() -> None:
    network = chain((4,), fc=linear([[12.0, 1.0, 10.0, 2.0]]))
    assert WeightSharing(bits=1).plan(network, CALIBRATION).notes["fc"] == {
        "weights": 4, "entries": 2, "squared error": pytest.approx(2 * 0.25 + 2 * 1.0)
    }  # fmt: skip


def test_only_the_forgy_start_looks_at_the_seed() -> None:
    network = perceptron()
    for start in STARTS:
        options = WeightSharing(bits=3, start=start)  # type: ignore[arg-type]
        equal = torch.equal(weight(shared(network, options, 1), "fc1"), weight(shared(network, options, 2), "fc1"))
        assert equal == (start != "forgy")


def test_sharing_follows_a_mask_without_reviving_anything() -> None:
    network = perceptron()
    mask = torch.rand(20, 10, generator=generator()) < 0.5
    layer = network.layer("fc1")
    attach(layer, Masked(mask), layer.weight.detach())  # type: ignore[operator, union-attr]
    form = form_of(shared(network, WeightSharing()).layer("fc1"))
    assert isinstance(form, Codebook) and torch.equal(form.index >= 0, mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits is 0, expected 1 to 16"),
        ({"layer_bits": {"fc": 17}}, "layer_bits.fc is 17, expected 1 to 16"),
        ({"entries": {"fc": 0}}, "entries.fc is 0, expected 1 to 65536"),
        ({"start": "random"}, "start is 'random', expected 'linear', 'density' or 'forgy'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"weight-sharing: {message}"):
        WeightSharing(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"layer_bits": {"fc3": 4}}, {"entries": {"fc3": 4}}, {"skip": ("fc3",)}])
def test_a_layer_that_is_not_there_is_named(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="weight-sharing: no layer 'fc3'.*expected one of fc1, fc2"):
        WeightSharing(**options).plan(perceptron(), CALIBRATION)  # type: ignore[arg-type]
