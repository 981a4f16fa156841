from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camfit import data as datasets
from camfit.errors import RecipeError
from camfit.evaluate import Samples, evaluate
from camfit.execute import Workshop, execute
from camfit.loss import LossTerm, State, Teacher
from camfit.methods.distillation.soft_targets import SoftTargets, mean_log_probabilities
from camfit.network import Network
from camfit.recipe import Recipe
from camfit.run import Run
from camfit.storage import network_bytes
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, quiet, train
from camfit.zoo import digits_cnn
from methods.chain import chain, linear


def logits(*values: float) -> Network:
    """A network that gives these logits for the input 1."""
    return chain((1,), fc=linear([[value] for value in values]))


def state(student: Network, label: int = 0) -> State:
    inputs = torch.ones(1, 1)
    return State(inputs, torch.tensor([label]), student(inputs), student)


def term_gradient(options: SoftTargets, teacher: Network, outputs: Tensor) -> Tensor:
    """Gradient of the term in the student's outputs."""
    outputs = outputs.clone().requires_grad_()
    inputs = torch.ones(len(outputs), 1)
    options.term(Teacher(teacher))(
        State(inputs, torch.zeros(len(outputs), dtype=torch.int64), outputs, teacher)
    ).backward()
    assert outputs.grad is not None
    return outputs.grad


def data(count: int = 40) -> Samples:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(count, 2, 4, 4, generator=generator)
    return Samples(inputs, torch.randint(0, 3, (count,), generator=generator))


def small(seed: int) -> Network:
    """Everything that differs between training and evaluation is in it."""
    torch.manual_seed(seed)
    return chain(
        (2, 4, 4),
        conv=nn.Conv2d(2, 4, 3),
        norm=nn.BatchNorm2d(4),
        relu=nn.ReLU(),
        dropout=nn.Dropout(0.4),
        flatten=nn.Flatten(),
        fc=nn.Linear(16, 3),
    )


def trained(samples: Samples, *terms: LossTerm) -> bytes:
    network = small(0)
    train(network, samples, samples, classification(), Train(2, 0.05, batch_size=16), terms=terms)
    return network_bytes(network)


def test_the_loss_of_two_logits_at_temperature_two() -> None:
    """Teacher (2, 0), student (0, 2), T = 2: p = (e, 1)/(e + 1) and q = (1, e)/(e + 1), so KL = (e − 1)/(e + 1)."""
    options, teacher, student = SoftTargets(temperature=2, alpha=0.7), logits(2.0, 0.0), logits(0.0, 2.0)
    divergence = 0.46211716
    assert float(options.term(Teacher(teacher))(state(student)).detach()) == pytest.approx(
        0.7 * 4 * divergence, rel=1e-6
    )
    # In training, the label 0 adds 0.3·CE: CE = log(1 + e²).
    samples = Samples(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    history = train(student, samples, samples, classification(), Train(1), terms=(options.term(Teacher(teacher)),))
    assert history.loss == [pytest.approx(0.7 * 4 * divergence + 0.3 * 2.1269280, rel=1e-6)]


def test_the_loss_is_a_mean_over_the_batch() -> None:
    term, student = SoftTargets(temperature=3).term(Teacher(logits(1.0, -2.0, 0.5))), logits(0.0, 1.0, 2.0)
    inputs = torch.tensor([[1.0], [-2.0], [0.3]])
    labels = torch.zeros(3, dtype=torch.int64)
    each = [float(term(State(x[None], labels[:1], student(x[None]), student)).detach()) for x in inputs]
    together = float(term(State(inputs, labels, student(inputs), student)).detach())
    assert together == pytest.approx(sum(each) / 3, rel=1e-6)


def test_the_gradients_size_does_not_depend_on_a_high_temperature() -> None:
    """Section 2: with T², the gradient tends to (z − v)/N for logits of zero mean; without it, it would fall as 1/T²."""
    teacher, student = logits(3.0, -1.0, -2.0), torch.tensor([[-1.0, 2.0, -1.0]])
    limit = (student - torch.tensor([[3.0, -1.0, -2.0]])) / 3
    for temperature in (50.0, 100.0, 400.0):
        gradient = term_gradient(SoftTargets(temperature, alpha=1.0), teacher, student)
        torch.testing.assert_close(gradient, limit, rtol=0, atol=2.5 / temperature)


def test_an_ensemble_is_averaged_arithmetically_or_geometrically() -> None:
    """(0.9, 0.1) and (0.5, 0.5): arithmetic (0.7, 0.3); geometric √0.45 : √0.05 = 3 : 1."""
    teachers = [torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log() + 7]
    for ensemble, mean in (("arithmetic", [[0.7, 0.3]]), ("geometric", [[0.75, 0.25]])):
        torch.testing.assert_close(mean_log_probabilities(teachers, ensemble).exp(), torch.tensor(mean))


@pytest.mark.parametrize(("ensemble", "mean"), [("arithmetic", (0.7, 0.3)), ("geometric", (0.75, 0.25))])
def test_the_loss_against_an_ensemble_is_zero_exactly_at_its_mean(ensemble: str, mean: tuple[float, float]) -> None:
    options = SoftTargets(temperature=1, alpha=1, ensemble=ensemble)
    teachers = tuple(logits(*torch.tensor(p).log().tolist()) for p in ((0.9, 0.1), (0.5, 0.5)))
    term = options.term_of(tuple(Teacher(teacher) for teacher in teachers))
    at_mean = logits(*torch.tensor(mean).log().tolist())
    assert float(term(state(at_mean)).detach()) == pytest.approx(0, abs=1e-6)
    assert float(term(state(logits(0.0, 0.0))).detach()) > 0.05


def test_alpha_zero_is_plain_cross_entropy() -> None:
    term = SoftTargets(alpha=0).term(Teacher(small(1)))
    assert trained(data(), term) == trained(data())


def test_alpha_one_ignores_the_labels() -> None:
    term, samples = SoftTargets(alpha=1).term(Teacher(small(1))), data()
    other = Samples(samples.inputs, (samples.targets + 1) % 3)
    assert trained(samples, term) == trained(other, term)
    assert trained(samples) != trained(other)


def test_the_teacher_is_frozen() -> None:
    """A teacher in training mode, with batch-norm and dropout, neither learns nor notices the student's batches."""
    teacher = small(1).train()
    term, before = SoftTargets().term(Teacher(teacher)), network_bytes(teacher)
    student = small(0)
    probe = State(data().inputs, data().targets, torch.zeros(40, 3), student)
    first = term(probe)
    train(student, data(), data(), classification(), Train(2, 0.05), terms=(term,))
    assert torch.equal(term(probe), first)
    assert network_bytes(teacher) == before
    assert all(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_term_keeps_the_teacher_as_it_was() -> None:
    teacher, student = logits(2.0, 0.0), logits(0.0, 2.0)
    term = SoftTargets().term(Teacher(teacher))
    before = term(state(student))
    with torch.no_grad():
        teacher.get_submodule("fc").weight.zero_()  # type: ignore[operator, union-attr]
    assert torch.equal(term(state(student)), before)


def test_it_joins_every_training_step_of_a_recipe(tmp_path: Path) -> None:
    network, samples = small(0), data()
    step = Train(1, 0.05, batch_size=16)
    recipe = Recipe("r", (step, step)).joined_by("soft-targets", {"temperature": 2.0, "alpha": 0.5})
    workshop = Workshop(samples, samples, classification(), 3, quiet)
    with Run(tmp_path / "run", {}) as run:
        result, records = execute(recipe, network, workshop, run)
    assert [record["what"].endswith("+ soft-targets") for record in records] == [True, True]
    # The teacher of both steps is the network as it entered the recipe.
    term = SoftTargets(temperature=2.0, alpha=0.5).term(Teacher(network))
    expected = network.clone()
    for _ in range(2):
        train(expected, samples, samples, classification(), step, terms=(term,), seed=3)
    assert network_bytes(result) == network_bytes(expected)


def test_a_small_network_learns_more_from_few_images_with_a_teacher() -> None:
    """100 labelled digits, the same network, images, steps and seeds with and without the teacher's soft targets."""
    digits = datasets.load("digits")
    whole, test = Samples.of(digits, digits.train), Samples.of(digits, digits.test)
    torch.manual_seed(0)
    teacher = trace(digits_cnn.build(digits.input_shape, 10), digits.input_shape)
    train(teacher, whole, whole, classification(), Train(6, 0.003, 32, "adam"))
    term = SoftTargets(temperature=4.0, alpha=0.9).term(Teacher(teacher))
    gains = []
    for seed in range(3):
        chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:100]
        few = Samples(whole.inputs[chosen], whole.targets[chosen])
        torch.manual_seed(seed)
        alone = chain((1, 8, 8), flatten=nn.Flatten(), fc1=nn.Linear(64, 16), relu=nn.ReLU(), fc2=nn.Linear(16, 10))
        taught = alone.clone()
        train(alone, few, few, classification(), Train(60, 0.01, 20, "adam"))
        train(taught, few, few, classification(), Train(60, 0.01, 20, "adam"), terms=(term,))
        gains.append(evaluate(taught, test, classification()) - evaluate(alone, test, classification()))
    assert min(gains) > 0 and sum(gains) / 3 > 0.02, gains


def test_it_is_no_rewrite_step() -> None:
    with pytest.raises(RecipeError, match=r"'soft-targets' is a loss term; put it under \[\[terms\]\]"):
        Recipe.parse('name = "r"\n[[steps]]\nstep = "rewrite"\nmethod = "soft-targets"')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0, expected above 0"),
        ({"temperature": float("nan")}, "temperature is nan, expected above 0"),
        ({"alpha": 1.5}, r"alpha is 1.5, expected in \[0, 1\]"),
        ({"alpha": float("nan")}, r"alpha is nan, expected in \[0, 1\]"),
        ({"ensemble": "median"}, "ensemble is 'median', expected 'arithmetic' or 'geometric'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float | str], message: str) -> None:
    with pytest.raises(RecipeError, match=f"soft-targets: {message}"):
        SoftTargets(**options)  # type: ignore[arg-type]
