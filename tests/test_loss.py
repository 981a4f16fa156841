from __future__ import annotations

import torch
from torch import nn

from camfit.evaluate import Samples
from camfit.loss import State, Teacher, View
from camfit.network import Network
from camfit.tasks import classification
from camfit.train import Augment, Train, train
from methods.chain import chain


class Counted(nn.Flatten):
    """Counts the images that pass in evaluation mode."""

    images = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        Counted.images += 0 if self.training else len(input)
        return super().forward(input)


def network(seed: int, flatten: type[nn.Flatten] = nn.Flatten) -> Network:
    torch.manual_seed(seed)
    return chain((2, 4, 4), conv=nn.Conv2d(2, 4, 3), relu=nn.ReLU(), flatten=flatten(), fc=nn.Linear(16, 3))


def data(count: int) -> Samples:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(count, 2, 4, 4, generator=generator)
    return Samples(inputs, torch.randint(0, 3, (count,), generator=generator))


class Compared:
    """A term of no weight that compares what the teacher remembers with the teacher's outputs on the batch itself."""

    task_weight = 1.0

    def __init__(self, teacher: Teacher, original: Network) -> None:
        self.teacher, self.original, self.batches = teacher, original, 0

    def __call__(self, state: State) -> torch.Tensor:
        with torch.no_grad():
            torch.testing.assert_close(self.teacher.outputs(state), self.original(state.inputs), rtol=1e-5, atol=1e-6)
        self.batches += 1
        return state.outputs.new_zeros(())


def test_what_is_remembered_belongs_to_the_batch_under_every_augmentation() -> None:
    augmentations: tuple[Augment, ...] = ("none", "flip", "shift", "flip-shift")
    for augment in augmentations:
        original, samples = network(1), data(700)
        term = Compared(Teacher(original), original)
        train(network(0), samples, samples, classification(), Train(3, 0.05, 64, augment=augment), terms=(term,))
        assert term.batches == 33


def test_the_teacher_runs_once_over_each_view_of_a_split() -> None:
    samples = data(700)
    for augment, views in (("none", 1), ("flip", 2)):
        teacher = Teacher(network(1, Counted))
        Counted.images = 0
        for _ in range(2):  # as in two steps of one recipe
            term = Compared(teacher, network(1))
            train(network(0), samples, samples, classification(), Train(4, 0.05, 64, augment=augment), terms=(term,))  # type: ignore[arg-type]
        assert Counted.images == views * len(samples)


def test_another_split_is_not_mixed_up_with_the_one_before() -> None:
    original = network(1)
    teacher, rows = Teacher(original), torch.tensor([2, 0])
    for samples in (data(3), Samples(data(3).inputs + 1, data(3).targets)):
        inputs = samples.inputs[rows]
        state = State(inputs, samples.targets[rows], torch.zeros(2, 3), original, View(samples.inputs, rows, False))
        torch.testing.assert_close(teacher.outputs(state), original(inputs).detach())
