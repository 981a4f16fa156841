"""PR15: at 20 % of the weights and less the ticket beats its mask under new values, and a random mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from camfit.bench import tickets
from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.data import load
from camfit.train import Train

_DATA = "mnist-5k"
_TRAINING = Train(10, learning_rate=1.2e-3, optimizer="adam", weight_decay=0.0, schedule="constant")
_ROUNDS = (8, 12)


def _measure(seed: int, folder: Path, progress: Progress) -> Figures:
    found = tickets.tickets(load(_DATA, seed=seed), _TRAINING, seed, _ROUNDS, folder, progress)
    return {
        f"{row.which}, round {round_of}": 100 * row.accuracy for row, round_of in zip(found, _labels(), strict=True)
    }


def _labels() -> list[int]:
    return [number for number in _ROUNDS for _ in (tickets.TICKET, tickets.NEW_VALUES, tickets.RANDOM_MASK)]


def _beats(measured: Sequence[Figures]) -> bool:
    """The ticket is ahead of both controls, in every seed and at both densities."""
    return all(
        figures[f"{tickets.TICKET}, round {number}"] > figures[f"{control}, round {number}"]
        for figures in measured
        for number in _ROUNDS
        for control in (tickets.NEW_VALUES, tickets.RANDOM_MASK)
    )


CLAIMS = (
    Claim(
        "PR15",
        "At 20 % of the weights and less the ticket beats the same mask under new initial values, and a random mask.",
        f"LeNet-300-100 on {_DATA}, {_TRAINING.epochs} epochs a round; after 8 rounds about 17 % of the weights are "
        "left, after 12 about 7 %. Figures: test accuracy in percent; the test split has 1,000 images.",
        _measure, _beats,
    ),
)  # fmt: skip
