"""The one training loop. Methods join it with loss terms; none copies it.

Random choices come from the seed and the epoch number alone, so a run that was killed goes on from its last finished
epoch and ends with the same bits as one that was not.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.errors import RunError, TrainingError
from camfit.evaluate import Samples, evaluate
from camfit.forms import Codebook, Sign, form_of, stored_of
from camfit.loss import LossTerm, State, View
from camfit.network import Network, order_memory
from camfit.storage import write_atomically
from camfit.tasks import Task

# Seconds between lines of progress and between checkpoints: epochs on small data take milliseconds.
_TELL_EVERY = 2.0
_SAVE_EVERY = 3.0

# Of one image: below, two threads wait for each other longer than they compute (LeNet-5 has 2.3 million).
_MACS_WORTH_THREADS = 1_000_000


Augment = Literal["none", "shift", "flip", "flip-shift"]


class Train(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="train", tag_field="step"):
    """How to train.

    Attributes:
        epochs: passes over the training split.
        learning_rate: the highest rate of the schedule.
        batch_size: images a step.
        optimizer: ``sgd`` (Nesterov momentum) or ``adam``.
        momentum: of SGD.
        weight_decay: L2 on weights; biases, batch-norm, centroids and the latent weights of signs are left out.
        schedule: ``constant``, ``cosine`` (to zero) or ``one-cycle`` (rises over the first 30 %, then cosine).
        augment: ``none``, ``shift`` (by up to 2 pixels), ``flip`` (left-right) or ``flip-shift``; drawn per batch.
        clip: largest gradient norm, 0 for no limit.
        keep_norms: batch-norm keeps its statistics and normalises by them, as where few images would move them astray.
        updates: batches of an epoch at most, 0 for all: with one epoch, a few updates between two removals.
    """

    epochs: int
    learning_rate: float = 0.01
    batch_size: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "one-cycle"] = "cosine"
    augment: Augment = "none"
    clip: float = 0.0
    updates: int = 0
    keep_norms: bool = False

    def __post_init__(self) -> None:
        for name, ok, expected in (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("learning_rate", self.learning_rate > 0 and math.isfinite(self.learning_rate), "above 0"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("clip", self.clip >= 0, "0 or more"),
            ("updates", self.updates >= 0, "0 or more"),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {expected}")

    def __str__(self) -> str:
        few = f" of {self.updates} updates" if self.updates else ""
        return f"train {self.epochs} epochs{few}, {self.optimizer} {self.learning_rate:g} ({self.schedule})"


@dataclass
class History:
    """Figures of every finished epoch: ``loss`` (training), ``validation`` (the task's metric)."""

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


Progress = Callable[[str], None]


def quiet(message: str) -> None:
    """Progress that nobody watches."""


@contextmanager
def fitting_threads(macs: int) -> Iterator[None]:
    """One torch thread inside, where a batch is too little work to share; the number as it was outside.

    Args:
        macs: multiply-accumulates of one image. The choice rests on them alone, so it is the same at every run: the
            number of threads decides the order of sums, and so the bits of the result.
    """
    before = torch.get_num_threads()
    if macs < _MACS_WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    network: Network,
    training: Samples,
    validation: Samples,
    task: Task,
    options: Train,
    *,
    terms: tuple[LossTerm, ...] = (),
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
    label: str = "train",
) -> History:
    """Trains the network in place.

    Args:
        terms: extra losses; the total is task loss · product of their task weights + their sum.
        checkpoint: file that holds the last finished epoch; where it exists, training goes on from it.
        label: names this step in messages.

    Raises:
        TrainingError: the loss is not finite; names step, epoch and batch. The network holds the last finished step.
    """
    order_memory(network, torch.channels_last)
    try:
        return _train(network, training, validation, task, options, terms, seed, checkpoint, progress, label)
    finally:
        order_memory(network, torch.contiguous_format)


def _train(
    network: Network,
    training: Samples,
    validation: Samples,
    task: Task,
    options: Train,
    terms: tuple[LossTerm, ...],
    seed: int,
    checkpoint: Path | None,
    progress: Progress,
    label: str,
) -> History:
    optimizer = _optimizer(network, options)
    history = History()
    start = 0
    if checkpoint is not None and checkpoint.exists():
        start, history = _restore(checkpoint, network, optimizer)
    whole = _steps_per_epoch(len(training), options.batch_size)
    steps_per_epoch = min(whole, options.updates or whole)
    total = options.epochs * steps_per_epoch
    told = saved = time.monotonic()
    for epoch in range(start, options.epochs):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(seed, epoch))
            order = torch.randperm(len(training))
            network.train()
            if options.keep_norms:
                _keep_norms(network)
            loss_sum, seen = 0.0, 0
            for step in range(steps_per_epoch):
                last_step = step + 1 == whole
                chosen = order[step * options.batch_size : None if last_step else (step + 1) * options.batch_size]
                inputs, mirrored = _augment(training.inputs[chosen], options.augment)
                view = None if mirrored is None else View(training.inputs, chosen, mirrored)
                rate = _rate(options, epoch * steps_per_epoch + step, total)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss = _loss(network, inputs, training.targets[chosen], view, task, terms)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise TrainingError(
                        f"{label}: the loss became {value} in epoch {epoch + 1}, batch {step + 1} of "
                        f"{steps_per_epoch}, at learning rate {rate:g}; a lower learning_rate or clip = 1 usually helps"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if options.clip:
                    nn.utils.clip_grad_norm_(network.parameters(), options.clip)
                optimizer.step()
                _settle(network)
                loss_sum, seen = loss_sum + value * len(chosen), seen + len(chosen)
        network.eval()
        history.loss.append(loss_sum / max(1, seen))
        history.validation.append(evaluate(network, validation, task))
        now, last = time.monotonic(), epoch + 1 == options.epochs
        if last or now - told >= _TELL_EVERY:
            told = now
            progress(
                f"{label}: epoch {epoch + 1}/{options.epochs}, loss {history.loss[-1]:.4f}, "
                f"validation {task.metric_name} {100 * history.validation[-1]:.2f} %"
            )
        if checkpoint is not None and not last and now - saved >= _SAVE_EVERY:
            _save(checkpoint, network, optimizer, epoch + 1, history)
            saved = time.monotonic()
    network.eval()
    return history


# -- one step --------------------------------------------------------------------------------------------------


def _steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of one epoch. A single image that would be left over joins the last one: batch-norm needs two."""
    return max(1, math.ceil((images - (batch_size > 1)) / batch_size))


def _loss(
    network: Network, inputs: Tensor, targets: Tensor, view: View | None, task: Task, terms: tuple[LossTerm, ...]
) -> Tensor:
    outputs = network(inputs)
    state = State(inputs, targets, outputs, network, view)
    task_weight = math.prod(term.task_weight for term in terms)
    loss: Tensor = outputs.new_zeros(())
    if task_weight:
        loss = loss + task_weight * task.loss(outputs, targets)
    for term in terms:
        loss = loss + term(state)
    return loss


def _keep_norms(network: Network) -> None:
    for _, layer in network.layers():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.eval()


def _settle(network: Network) -> None:
    for layer in network.weighted().values():
        form = form_of(layer)
        if form is not None:
            form.settle(stored_of(layer))


def _augment(inputs: Tensor, how: str) -> tuple[Tensor, bool | None]:
    """The batch as it is trained on, and whether it was mirrored; None where it was shifted."""
    mirrored = "flip" in how and float(torch.rand(())) < 0.5
    if mirrored:
        inputs = inputs.flip(-1)
    shifted = "shift" in how
    if shifted:
        reach = 2
        down, right = (int(n) for n in torch.randint(0, 2 * reach + 1, (2,)))
        height, width = inputs.shape[-2:]
        # Replicated borders: the normalised background is not zero.
        padded = F.pad(inputs, (reach, reach, reach, reach), mode="replicate")
        inputs = padded[..., down : down + height, right : right + width]
    inputs = inputs.contiguous(memory_format=torch.channels_last if inputs.dim() == 4 else torch.contiguous_format)
    return inputs, None if shifted else mirrored


def _rate(options: Train, step: int, total: int) -> float:
    done = step / max(1, total)
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "cosine":
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if done < 0.3:
        return options.learning_rate * (0.04 + 0.96 * done / 0.3)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - 0.3) / 0.7))


def _optimizer(network: Network, options: Train) -> torch.optim.Optimizer:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    weights = set()
    for layer in network.weighted().values():
        if isinstance(form_of(layer), Codebook | Sign):
            continue
        weights.add(id(stored_of(layer)))
    for parameter in network.parameters():
        (decayed if id(parameter) in weights else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=options.learning_rate)
    nesterov = options.momentum > 0
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum, nesterov=nesterov)


def _mix(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch (SplitMix64's finaliser)."""
    x = (seed * 0x9E3779B97F4A7C15 + epoch + 1) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) & 0x7FFFFFFFFFFFFFFF


# -- checkpoints -----------------------------------------------------------------------------------------------


def _save(path: Path, network: Network, optimizer: torch.optim.Optimizer, epochs: int, history: History) -> None:
    buffer = io.BytesIO()
    state: dict[str, Any] = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epochs": epochs,
        "loss": history.loss,
        "validation": history.validation,
    }
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def _restore(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> tuple[int, History]:
    try:
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return state["epochs"], History(list(state["loss"]), list(state["validation"]))
    except Exception as error:
        # Torch's own text advises loading without weights_only, which is the last thing to do with a damaged file.
        raise RunError(
            f"{path}: not a usable checkpoint ({type(error).__name__}); delete it to train this step anew"
        ) from error
