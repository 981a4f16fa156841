"""The two small roles that a method can play, and its entry in the catalogue.

A method is a frozen dataclass whose fields are its options. It plays one of two roles:

- *planner*: looks at a network and returns a :class:`~camfit.plan.Plan`; it changes nothing.
- *term*: adds a loss to every training step it joins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from camfit.network import Network
from camfit.plan import Plan
from camfit.tasks.classification import cross_entropy

if TYPE_CHECKING:
    from camfit.loss import LossTerm, Teacher


@dataclass(frozen=True)
class Calibration:
    """What a planner may look at besides the network: training data only, and the seed of its random choices.

    Attributes:
        inputs: normalised training images [N, C, H, W].
        targets: their labels [N].
        seed: for random choices; same seed, same plan.
        loss: mean loss of outputs against targets, as the task trains it.
    """

    inputs: Tensor
    targets: Tensor
    seed: int = 0
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy

    def first(self, images: int) -> Calibration:
        """The same with the first ``images`` images alone."""
        return replace(self, inputs=self.inputs[:images], targets=self.targets[:images])


@runtime_checkable
class Planner(Protocol):
    """A method that rewrites a network."""

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """The edits to make. The network stays bit-identical; same network, calibration and options, same plan."""
        ...


@runtime_checkable
class Term(Protocol):
    """A method that adds a loss to training."""

    def term(self, teacher: Teacher) -> LossTerm:
        """The loss term against a frozen teacher."""
        ...


@dataclass(frozen=True)
class Entry:
    """A method's line in the catalogue.

    Attributes:
        row: identifier in the method catalogue, for example ``PR6``.
        name: what recipes call it, for example ``l1-filters``.
        family: distillation, hashing, pruning, quantization, precision or binarization.
        paper: authors, title, venue and year.
        options: the method's dataclass; its fields are its options.
    """

    row: str
    name: str
    family: str
    paper: str
    options: type[Planner] | type[Term]
