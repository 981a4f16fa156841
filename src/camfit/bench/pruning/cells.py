"""What is measured: each method at each level on each network, and the rows that nothing was chosen in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from camfit.catalog import methods
from camfit.method import Entry
from camfit.options import options
from camfit.train import Train

Kind = Literal["dense", "structured", "unstructured"]

NETWORKS = ("lenet-300-100", "lenet-5", "resnet-20", "mobilenet")
MACS = (0.3, 0.5, 0.7)  # removed
ZEROS = (0.8, 0.9, 0.95)

DENSE, RANDOM = "dense", "random"

# Methods whose budget is a share of zeros; the lottery ticket needs whole trainings, and has its own claim.
_SINGLE_WEIGHTS = ("magnitude", "optimal-brain-damage", "optimal-brain-surgeon")

# The same for every row of a network; an epoch of the larger two takes minutes.
_TUNING = Train(1, learning_rate=0.01, augment="flip")
TUNING = {
    "lenet-300-100": Train(1, learning_rate=0.01),
    "lenet-5": _TUNING,
    "resnet-20": Train(1, learning_rate=0.01, augment="flip", updates=80),
    "mobilenet": Train(1, learning_rate=0.01, augment="flip", updates=80),
}


@dataclass(frozen=True)
class Cell:
    """One row of one network's table.

    Attributes:
        name: of the method as a recipe calls it, ``random`` or ``dense``.
        row: in the catalogue; empty where nothing of it is measured.
        level: share of the multiply-accumulates removed (structured) or of the weights that are zero.
        method, options: what plans it; no method for ``dense``.
    """

    network: str
    kind: Kind
    name: str
    row: str
    level: float
    method: str = ""
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """Where its figures and its packed file are kept, below those of the seed."""
        return f"{self.network}/{self.kind}/{self.name}-{round(100 * self.level)}"


def _structured(entry: Entry) -> Iterator[tuple[str, Callable[[float], dict[str, Any]]]]:
    """What the method's rows are called, and its options that remove a share of the multiply-accumulates."""
    if entry.name == "low-rank":
        yield entry.name, lambda level: {"rank": "budget", "macs": level}
    elif entry.name == "structured-sparsity":
        yield f"{entry.name}-maps", lambda level: {"scale": "feature-map", "macs": level}
        yield f"{entry.name}-kernels", lambda level: {"scale": "kernel", "ratio": level}
    elif entry.name not in _SINGLE_WEIGHTS and any(option.name == "macs" for option in options(entry.options)):
        yield entry.name, lambda level: {"macs": level}


def cells(network: str) -> Iterator[Cell]:
    """The rows of one network, by kind, then method, then level."""
    yield Cell(network, "dense", DENSE, "", 0.0)
    for level in MACS:
        yield Cell(network, "structured", RANDOM, "", level, "taylor", {"criterion": "random", "macs": level})
    for entry in methods().values():
        if entry.family == "pruning":
            for label, chosen in _structured(entry):
                yield from (
                    Cell(network, "structured", label, entry.row, level, entry.name, chosen(level)) for level in MACS
                )
    for level in ZEROS:
        drawn = {"mask": "random", "rate": level, "output_rate": level}
        yield Cell(network, "unstructured", RANDOM, "", level, "lottery-ticket", drawn)
    for name in _SINGLE_WEIGHTS:
        for level in ZEROS:
            ranked = {"sparsity": level, "allocation": "global"}
            yield Cell(network, "unstructured", name, methods()[name].row, level, name, ranked)
