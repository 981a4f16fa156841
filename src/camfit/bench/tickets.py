"""Winning tickets beside their controls, each trained alike from its own values (PR15).

The paper's claim is that at 20 % of the weights and less the ticket beats the same mask under new initial values, and a
random mask of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from camfit.data import Dataset
from camfit.evaluate import Samples, evaluate
from camfit.execute import Workshop
from camfit.forms import weight_of
from camfit.method import Calibration
from camfit.methods.pruning.lottery_ticket import LotteryTicket, find_ticket
from camfit.methods.pruning.magnitude import density
from camfit.network import Network
from camfit.run import Run
from camfit.storage import load_network, save_network
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import lenet_300_100

TICKET, NEW_VALUES, RANDOM_MASK = "ticket", "same mask, new values", "random mask"


@dataclass(frozen=True)
class Trained:
    """One network after its training.

    Attributes:
        which: ``ticket``, ``same mask, new values`` or ``random mask``.
        density: fraction of the weights that are not zero, counted.
        accuracy: on the test split, which chose nothing.
    """

    which: str
    seed: int
    density: float
    accuracy: float


def tickets(
    dataset: Dataset,
    training: Train,
    seed: int,
    rounds: Iterable[int],
    directory: Path,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Trained]:
    """Finds LeNet-300-100's ticket and trains it and both controls after the given rounds.

    Args:
        seed: of the initial values; the controls take their own from ``seed + 1000``.
        rounds: numbers of rounds, each pruning 20 % of what is left (the output layer 10 %).
        directory: a run directory, which keeps every finished round.
    """
    rounds = sorted(rounds)
    workshop = Workshop.of(dataset, classification(), seed, progress)
    initial, other = _untrained(dataset, seed), _untrained(dataset, seed + 1000)
    with Run(directory, {"data": dataset.fingerprint, "seed": seed, "training": str(training)}) as run:
        find_ticket(initial, workshop, run, rounds=rounds[-1], training=training)
    others = directory / "other.safetensors"
    save_network(other, others)
    steps = directory / "steps"
    found: list[Trained] = []
    for number in rounds:
        ticket = load_network(steps / f"ticket-{2 * number:02d}-lottery-ticket" / "network.safetensors")
        calibration = Calibration(workshop.training.inputs[:1], workshop.training.targets[:1], seed)
        new = LotteryTicket(rewind=str(others), rate=0.0)
        drawn = LotteryTicket(rewind=str(others), keep=_kept(ticket), mask="random")
        candidates = {
            TICKET: ticket,
            NEW_VALUES: apply(ticket, new.plan(ticket, calibration)),
            RANDOM_MASK: apply(initial, drawn.plan(initial, calibration)),
        }
        for which, network in candidates.items():
            found.append(_trained(which, network, dataset, workshop, training))
            progress(f"seed {seed}, {found[-1].density:.1%} of the weights, {which}: {found[-1].accuracy:.2%}")
    return found


def holds(rows: Iterable[Trained], control: str, most: float = 0.2) -> tuple[int, int]:
    """(cases in which the ticket beat the control, all cases) at a density of at most ``most``."""
    table = {(row.which, row.seed, round(row.density, 4)): row.accuracy for row in rows if row.density <= most}
    pairs = [
        (accuracy, table[control, seed, share]) for (which, seed, share), accuracy in table.items() if which == TICKET
    ]
    return sum(ticket > other for ticket, other in pairs), len(pairs)


def _untrained(dataset: Dataset, seed: int) -> Network:
    torch.manual_seed(seed)
    return trace(lenet_300_100.build(dataset.input_shape, len(dataset.classes), dropout=0.0), dataset.input_shape)


def _kept(network: Network) -> dict[str, float]:
    """Fraction of each layer's weights that are not zero."""
    weights = {path: weight_of(layer).detach() for path, layer in network.weighted().items()}
    return {path: int((weight != 0).sum()) / weight.numel() for path, weight in weights.items()}


def _trained(which: str, network: Network, dataset: Dataset, workshop: Workshop, training: Train) -> Trained:
    """Trains a copy as every round was trained; its accuracy on the test split."""
    trained = network.clone()
    train(trained, workshop.training, workshop.validation, workshop.task, training, seed=workshop.seed)
    accuracy = evaluate(trained, Samples.of(dataset, dataset.test), workshop.task)
    return Trained(which, workshop.seed, density(network), accuracy)
