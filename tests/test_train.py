from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.errors import TrainingError
from camfit.evaluate import Samples, evaluate, predict
from camfit.forms import stored_of
from camfit.loss import State
from camfit.network import Network
from camfit.storage import network_bytes
from camfit.tasks import Task, classification
from camfit.train import Train, fitting_threads, train
from methods.chain import chain, linear
from training import data, every_form

STEEP = Task("steep", "mean", loss=lambda outputs, _: outputs.mean(), metric=lambda outputs, _: 0.0)
FLAT = Task("flat", "none", loss=lambda outputs, _: 0 * outputs.sum(), metric=lambda outputs, _: 0.0)


def line() -> Network:
    """One weight that multiplies the input 1: under STEEP its gradient is 1 at every step."""
    return chain((1,), fc=linear([[0.0]]))


def ones(count: int) -> Samples:
    return Samples(torch.ones(count, 1), torch.zeros(count, dtype=torch.int64))


@dataclass
class Watch:
    """A loss term of value 0 that keeps what it sees."""

    task_weight: float = 1.0
    states: list[State] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def __call__(self, state: State) -> Tensor:
        self.states.append(dataclasses.replace(state, outputs=state.outputs.detach()))
        first = next(iter(state.network.weighted().values()))
        self.weights.append(float(stored_of(first).detach().flatten()[0]))
        return state.outputs.new_zeros(())


def steps(options: Train, count: int) -> list[float]:
    """How far the weight of ``line`` went at each of ``count`` steps, in units of the learning rate."""
    network, watch = line(), Watch()
    train(network, ones(count), ones(1), STEEP, options, terms=(watch,))
    places = [*watch.weights, float(stored_of(network.layer("fc")).detach())]
    return [(a - b) / options.learning_rate for a, b in itertools.pairwise(places)]


# -- the loss --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_step_epoch_and_batch() -> None:
    network, calls, before = every_form(), [], []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 5:
            before.extend(parameter.detach().clone() for parameter in network.parameters())
            return outputs.sum() * math.nan
        return F.cross_entropy(outputs, targets)

    message = r"02-train: the loss became nan in epoch 2, batch 2 of 3, at learning rate 0\.0\d+; a lower learning_rate"
    with pytest.raises(TrainingError, match=message):
        task = dataclasses.replace(classification(), loss=loss)
        train(network, data(), data(), task, Train(4, 0.05, 16), label="02-train")
    assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


def test_a_rate_that_is_too_high_is_an_error_and_no_network() -> None:
    with pytest.raises(TrainingError, match=r"train: the loss became (nan|inf) in epoch \d"):
        train(every_form(), data(), data(), classification(), Train(20, 1e12, schedule="constant"))


@dataclass(frozen=True)
class Fixed:
    """A term of a fixed value."""

    task_weight: float
    value: float

    def __call__(self, state: State) -> Tensor:
        return state.outputs.new_full((), self.value)


def test_task_weights_multiply_and_terms_add() -> None:
    """0.5·0.4·2 + 10 − 3: the task's loss is 2."""
    task = dataclasses.replace(STEEP, loss=lambda outputs, _: outputs.mean() + 2)
    terms = (Fixed(0.5, 10.0), Fixed(0.4, -3.0))
    history = train(line(), ones(4), ones(1), task, Train(1), terms=terms)
    assert history.loss == [pytest.approx(0.2 * 2 + 10 - 3)]


def test_the_tasks_gradient_is_scaled_by_the_weights() -> None:
    def moved(*terms: Fixed) -> float:
        network = line()
        options = Train(1, 1.0, momentum=0.0, weight_decay=0.0)
        train(network, ones(4), ones(1), STEEP, options, terms=terms)
        return float(stored_of(network.layer("fc")).detach())

    assert moved() == -1
    assert moved(Fixed(0.5, 1.0), Fixed(0.5, 2.0)) == -0.25


def test_a_weight_of_zero_leaves_the_task_out() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        raise AssertionError("the task's loss was asked for")

    term = Watch(task_weight=0.0)
    class_task = dataclasses.replace(STEEP, loss=loss)

    def also(state: State) -> Tensor:
        return state.outputs.sum()

    also.task_weight = 1.0  # type: ignore[attr-defined]
    train(line(), ones(4), ones(1), class_task, Train(1), terms=(term, also))  # type: ignore[arg-type]
    assert len(term.states) == 1


def test_the_epochs_loss_is_the_mean_over_images() -> None:
    """Batches of 4, 4 and 2 images with the losses 1, 1 and 6."""
    task = dataclasses.replace(STEEP, loss=lambda outputs, _: 0 * outputs.sum() + (1 if len(outputs) == 4 else 6))
    assert train(line(), ones(10), ones(1), task, Train(1, batch_size=4)).loss == [pytest.approx(2.0)]


def test_updates_end_an_epoch_early_and_the_schedule_knows() -> None:
    watch = Watch()
    samples = Samples(torch.arange(10.0)[:, None], torch.arange(10))
    history = train(line(), samples, ones(1), FLAT, Train(2, batch_size=4, updates=1), terms=(watch,), seed=1)
    assert [len(state.targets) for state in watch.states] == [4, 4]
    assert len(history.loss) == 2
    task = dataclasses.replace(STEEP, loss=lambda outputs, _: 0 * outputs.sum() + 3)
    assert train(line(), ones(10), ones(1), task, Train(1, batch_size=4, updates=2)).loss == [pytest.approx(3.0)]
    all_of_them = Watch()
    train(line(), samples, ones(1), FLAT, Train(1, batch_size=4, updates=99), terms=(all_of_them,))
    assert [len(state.targets) for state in all_of_them.states] == [4, 4, 2]


# -- batches ---------------------------------------------------------------------------------------------------


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    watch = Watch()
    samples = Samples(torch.arange(10.0)[:, None], torch.arange(10))
    train(line(), samples, samples, FLAT, Train(3, batch_size=4), terms=(watch,), seed=1)
    batches = [state.targets.tolist() for state in watch.states]
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    epochs = [[label for batch in batches[start : start + 3] for label in batch] for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(torch.equal(state.inputs[:, 0], state.targets.float()) for state in watch.states)


@pytest.mark.parametrize(("count", "batch", "sizes"), [(9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1])])
def test_no_single_image_is_left_over(count: int, batch: int, sizes: list[int]) -> None:
    watch = Watch()
    train(line(), ones(count), ones(1), FLAT, Train(1, batch_size=batch), terms=(watch,))
    assert [len(state.targets) for state in watch.states] == sizes


def test_batch_norm_over_vectors_trains_whatever_the_number_of_images() -> None:
    network = chain((1,), fc=nn.Linear(1, 4), norm=nn.BatchNorm1d(4))
    train(network, ones(129), ones(1), STEEP, Train(1, batch_size=128))


@pytest.mark.parametrize("kept", [True, False])
def test_norms_keep_their_statistics_where_asked(kept: bool) -> None:
    network = every_form()
    norm = network.layer("norm")
    before = norm.running_mean.clone(), norm.weight.detach().clone()  # type: ignore[operator, union-attr]
    train(network, data(), data(), classification(), Train(1, batch_size=10, keep_norms=kept))
    assert torch.equal(norm.running_mean, before[0]) is kept  # type: ignore[arg-type]
    assert not torch.equal(norm.weight, before[1])  # type: ignore[arg-type]


def test_augmented_images_are_shifted_by_up_to_two_pixels_with_their_border_repeated() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    wide = F.pad(image, (2, 2, 2, 2), mode="replicate")
    shifts = {(y, x): wide[0, 0, y : y + 4, x : x + 5] for y in range(5) for x in range(5)}

    def seen(augment: str) -> list[Tensor]:
        watch = Watch()
        network = chain((1, 4, 5), flatten=nn.Flatten(), fc=nn.Linear(20, 2))
        samples = Samples(image.repeat(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64))
        train(network, samples, samples, FLAT, Train(150, augment=augment), terms=(watch,))  # type: ignore[arg-type]
        for state in watch.states:
            assert torch.equal(state.inputs[0], state.inputs[1])
        return [state.inputs[0, 0] for state in watch.states]

    assert all(torch.equal(found, image[0, 0]) for found in seen("none"))
    found = [[place for place, shifted in shifts.items() if torch.equal(view, shifted)] for view in seen("shift")]
    assert all(found) and {places[0] for places in found} == set(shifts)
    flips = [torch.equal(view, image[0, 0].flip(1)) for view in seen("flip")]
    assert 0.3 < sum(flips) / 150 < 0.7
    assert all(flip or torch.equal(view, image[0, 0]) for flip, view in zip(flips, seen("flip"), strict=True))
    both = seen("flip-shift")
    assert 0.3 < sum(bool(view[0, 0] < view[0, -1]) for view in both) / 150 < 0.7


# -- the optimiser ---------------------------------------------------------------------------------------------


def test_schedules() -> None:
    """With gradient 1 and neither momentum nor decay, each step is its rate."""
    plain = Train(1, 0.5, 1, momentum=0.0, weight_decay=0.0)
    assert steps(Train(1, 0.5, 1, momentum=0.0, weight_decay=0.0, schedule="constant"), 4) == [1, 1, 1, 1]
    assert steps(plain, 4) == pytest.approx([1, 0.853553, 0.5, 0.146447], rel=1e-5)
    one_cycle = Train(1, 0.5, 1, momentum=0.0, weight_decay=0.0, schedule="one-cycle")
    falling = [0.5 * (1 + math.cos(math.pi * k / 7)) for k in range(7)]
    assert steps(one_cycle, 10) == pytest.approx([0.04, 0.36, 0.68, *falling], rel=1e-5)


def test_the_schedule_runs_over_all_epochs() -> None:
    options = Train(4, 0.5, 1, momentum=0.0, weight_decay=0.0)
    assert steps(options, 1) == pytest.approx([1, 0.853553, 0.5, 0.146447], rel=1e-5)


def test_momentum_is_nesterovs() -> None:
    """v = 1, 1.9, 2.71; the step is 1 + 0.9·v."""
    options = Train(1, 0.5, 1, momentum=0.9, weight_decay=0.0, schedule="constant")
    assert steps(options, 3) == pytest.approx([1.9, 2.71, 3.439], rel=1e-5)


def test_a_gradient_is_clipped_to_its_norm() -> None:
    options = Train(1, 0.5, 1, momentum=0.0, weight_decay=0.0, schedule="constant", clip=0.25)
    assert steps(options, 2) == pytest.approx([0.25, 0.25], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_only_real_weights_decay(optimizer: str) -> None:
    """Without any gradient, centroids, latent signs, biases and batch-norm stay to the bit; the other weights shrink."""
    network = every_form()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    options = Train(1, 0.1, optimizer=optimizer, momentum=0.0, weight_decay=0.5, schedule="constant")  # type: ignore[arg-type]
    train(network, data(), data(), FLAT, options)
    decayed = {
        name for name, parameter in network.named_parameters() if not torch.equal(parameter.detach(), before[name])
    }
    stored = ".parametrizations.weight.original"
    assert decayed == {"conv.weight", "dense.weight", "masked.parametrizations.weight.original", f"hashed{stored}"}
    for name in decayed:
        torch.testing.assert_close(network.get_parameter(name).detach(), before[name] * (1 - 0.1 * 0.5))


# -- around it -------------------------------------------------------------------------------------------------


def test_no_epochs_change_nothing() -> None:
    network = every_form()
    before = network_bytes(network)
    history = train(network, data(), data(), classification(), Train(0))
    assert network_bytes(network) == before and history.loss == history.validation == []


def test_the_history_ends_with_what_the_network_reaches() -> None:
    network = every_form()
    history = train(network, data(), data(20, 1), classification(), Train(2, 0.05, 16))
    assert history.validation[-1] == evaluate(network, data(20, 1), classification())
    assert not any(layer.training for layer in network.modules())


def test_prediction_is_in_evaluation_mode_and_comes_back() -> None:
    network = every_form().train()
    statistics = network.get_submodule("norm").running_mean.clone()  # type: ignore[operator, union-attr]
    inputs = data(7).inputs
    together, alone = predict(network, inputs), predict(network, inputs, batch=2)
    assert network.training and torch.equal(network.get_submodule("norm").running_mean, statistics)  # type: ignore[arg-type]
    assert not together.requires_grad
    torch.testing.assert_close(alone, together)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(inputs), together)


def test_small_networks_train_on_one_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with fitting_threads(1_000):
            assert torch.get_num_threads() == 1
        with pytest.raises(ValueError), fitting_threads(1_000):
            raise ValueError
        assert torch.get_num_threads() == 2
        with fitting_threads(10**9):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is -1, expected 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected above 0"),
        ({"learning_rate": math.inf}, "learning_rate is inf, expected above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan, expected above 0"),
        ({"batch_size": 0}, "batch_size is 0, expected 1 or more"),
        ({"momentum": 1.0}, r"momentum is 1.0, expected in \[0, 1\)"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001, expected 0 or more"),
        ({"clip": -1.0}, "clip is -1.0, expected 0 or more"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Train(**{"epochs": 1, **options})  # type: ignore[arg-type]
