"""Runs a recipe's steps one after the other, each kept in the run's directory as soon as it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from camfit.data import Dataset
from camfit.errors import BudgetError, PlanError, RecipeError, TrainingError
from camfit.evaluate import Samples, evaluate, predict
from camfit.loss import LossTerm, Teacher
from camfit.method import Calibration
from camfit.network import Network
from camfit.recipe import Recipe, Rewrite
from camfit.run import Record, Run
from camfit.storage import plan_bytes, write_atomically
from camfit.surgery import apply
from camfit.tasks import Task
from camfit.train import Progress, Train, train

# Planners that look at data see this many training images.
CALIBRATION_IMAGES = 512

# Between the training seeds of two rounds of a repeated step.
_ROUND = 7919


@dataclass(frozen=True)
class Workshop:
    """What every step works with: the data in tensors, the task, the seed, and where to tell progress."""

    training: Samples
    validation: Samples
    task: Task
    seed: int
    progress: Progress

    @classmethod
    def of(cls, dataset: Dataset, task: Task, seed: int, progress: Progress) -> Workshop:
        """Normalises the training and validation splits; the test split is not touched."""
        return cls(Samples.of(dataset, dataset.train), Samples.of(dataset, dataset.val), task, seed, progress)

    @property
    def calibration(self) -> Calibration:
        """Training images drawn by the seed."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.training), generator=generator)[:CALIBRATION_IMAGES]
        return Calibration(self.training.inputs[chosen], self.training.targets[chosen], self.seed, self.task.loss)


def execute(
    recipe: Recipe, network: Network, workshop: Workshop, run: Run, *, prefix: str = "", teacher: Teacher | None = None
) -> tuple[Network, list[Record]]:
    """Runs the recipe.

    Args:
        network: to start from; left as it is.
        run: keeps each step; finished ones are read back.
        prefix: of the steps' names.
        teacher: for the recipe's loss terms; the network itself by default.

    Returns:
        The final network and each step's record.
    """
    recipe.check()
    terms: tuple[LossTerm, ...] = ()
    if recipe.terms:
        source = teacher if teacher is not None else Teacher(network)
        terms = tuple(term.loss().term(source) for term in recipe.terms)
    current, records = network, []
    for number, placed in enumerate(recipe.in_order(), 1):
        step = placed.step
        name = f"{prefix}{number:02d}-{step.method if isinstance(step, Rewrite) else 'train'}"
        current, record = run_step(number, current, workshop, run, name, recipe, terms)
        records.append(record)
    return current, records


def run_step(
    number: int, network: Network, workshop: Workshop, run: Run, name: str, recipe: Recipe, terms: tuple[LossTerm, ...]
) -> tuple[Network, Record]:
    """Runs (or reads back) one step of the recipe in the order of running, counted from 1, under its name."""
    order = recipe.in_order()
    place, step = order[number - 1].place, order[number - 1].step
    # A round of its own order of images: a few updates in every round would else see the same batches again.
    seed = workshop.seed + _ROUND * (order[number - 1].turn - 1)

    def rewrite(_: Path) -> tuple[Network, Record]:
        assert isinstance(step, Rewrite)
        try:
            plan = step.planner().plan(network, workshop.calibration)
            rewritten = apply(network, plan)
        except (PlanError, BudgetError, RecipeError) as error:
            raise type(error)(f"recipe {recipe.name!r}, step {place}: {error}") from error
        write_atomically(run.path / "steps" / name / "plan.safetensors", plan_bytes(plan))
        validation = evaluate(rewritten, workshop.validation, workshop.task)
        workshop.progress(f"{name}: {plan.reason}; validation {workshop.task.metric_name} {100 * validation:.2f} %")
        return rewritten, {
            "name": name,
            "kind": "rewrite",
            "what": plan.reason,
            "why": str(step),
            "validation": validation,
            "notes": plan.notes,
            "curves": plan.curves,
        }

    def learn(checkpoint: Path) -> tuple[Network, Record]:
        assert isinstance(step, Train)
        trained = network.clone()
        history = train(
            trained,
            workshop.training,
            workshop.validation,
            workshop.task,
            step,
            terms=terms,
            seed=seed,
            checkpoint=checkpoint,
            progress=workshop.progress,
            label=name,
        )
        if not bool(predict(trained, workshop.validation.inputs[:500]).isfinite().all()):
            # The last batch's step: no loss was taken after it.
            raise TrainingError(
                f"{name}: the trained network's outputs are not finite, at learning rate {step.learning_rate:g}; "
                "a lower learning_rate or clip = 1 usually helps"
            )
        joined = "".join(f" + {term.method}" for term in recipe.terms)
        return trained, {
            "name": name,
            "kind": "train",
            "what": f"{step}{joined}",
            "why": "recover accuracy"
            if any(isinstance(earlier.step, Rewrite) for earlier in order[: number - 1])
            else "train",
            "validation": (
                history.validation[-1] if history.validation else evaluate(trained, workshop.validation, workshop.task)
            ),
            "history": {"loss": history.loss, "validation": history.validation},
        }

    return run.network(name, rewrite if isinstance(step, Rewrite) else learn)
