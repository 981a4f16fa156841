"""Soft targets. Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, NIPS workshop 2014 (KD3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from camfit.errors import RecipeError
from camfit.loss import LossTerm, State, Teacher
from camfit.method import Entry


@dataclass(frozen=True)
class SoftTargets:
    """L = α·T²·KL(softmax(z_t/T) ‖ softmax(z_s/T)) + (1 − α)·CE(y, z_s).

    T² keeps the soft gradients' size independent of the temperature, as the paper's section 2 derives.

    Attributes:
        temperature: T, above 0; 4 by default.
        alpha: weight of the soft term, in [0, 1].
        ensemble: ``arithmetic`` or ``geometric`` mean of the distributions of several teachers.
    """

    temperature: float = 4.0
    alpha: float = 0.7
    ensemble: str = "arithmetic"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise RecipeError(f"soft-targets: temperature is {self.temperature}, expected above 0")
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"soft-targets: alpha is {self.alpha}, expected in [0, 1]")
        if self.ensemble not in ("arithmetic", "geometric"):
            raise RecipeError(f"soft-targets: ensemble is {self.ensemble!r}, expected 'arithmetic' or 'geometric'")

    def term(self, teacher: Teacher) -> LossTerm:
        """The loss term against one teacher."""
        return self.term_of((teacher,))

    def term_of(self, teachers: tuple[Teacher, ...]) -> LossTerm:
        """The loss term against the mean of several teachers."""
        return _SoftTargetLoss(self, teachers)


@dataclass(frozen=True)
class _SoftTargetLoss:
    options: SoftTargets
    teachers: tuple[Teacher, ...]

    @property
    def task_weight(self) -> float:
        return 1.0 - self.options.alpha

    def __call__(self, state: State) -> Tensor:
        temperature = self.options.temperature
        with torch.no_grad():
            logits = [teacher.outputs(state) / temperature for teacher in self.teachers]
            target = mean_log_probabilities(logits, self.options.ensemble)
        student = F.log_softmax(state.outputs / temperature, dim=1)
        divergence = F.kl_div(student, target, reduction="batchmean", log_target=True)
        return self.options.alpha * temperature**2 * divergence


def mean_log_probabilities(logits: list[Tensor], ensemble: str) -> Tensor:
    """Log of the teachers' mean distribution [N, classes]; the geometric mean is normalised again."""
    logs = torch.stack([F.log_softmax(z, dim=1) for z in logits])
    if ensemble == "geometric":
        return F.log_softmax(logs.mean(0), dim=1)
    return torch.logsumexp(logs, 0) - torch.log(torch.tensor(float(len(logits))))


ENTRY = Entry(
    row="KD3",
    name="soft-targets",
    family="distillation",
    paper="Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. NIPS Deep Learning Workshop 2014.",
    options=SoftTargets,
)
