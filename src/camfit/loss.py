"""What a loss beside the task's sees, and the teacher that it may compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from camfit.evaluate import predict
from camfit.network import Network, order_memory

# Outputs that a teacher remembers, in numbers of four bytes: a view of a larger split is computed batch by batch.
_REMEMBERED = 1 << 26
_BATCH = 500


@dataclass(frozen=True, eq=False)
class View:
    """Where a batch comes from when epochs repeat it: ``rows`` of the split's ``inputs`` [N, C, H, W], all of the batch
    mirrored left-right or none.
    """

    inputs: Tensor
    rows: Tensor
    mirrored: bool


@dataclass(frozen=True, eq=False)
class State:
    """One training step as loss terms see it: normalised inputs, labels, the network's outputs, and the network.

    ``view`` is None where augmentation made inputs that no other epoch will see.
    """

    inputs: Tensor
    targets: Tensor
    outputs: Tensor
    network: Network
    view: View | None = None


class LossTerm(Protocol):
    """A loss beside the task's. ``task_weight`` scales the task's own loss (1 leaves it)."""

    @property
    def task_weight(self) -> float: ...

    def __call__(self, state: State) -> Tensor: ...


class Teacher:
    """A frozen copy of a network, in evaluation mode, that runs once over each view of a split and then remembers.

    A view is always computed whole and in the same batches, so what a batch receives does not depend on when the
    training began or was resumed.
    """

    def __init__(self, network: Network) -> None:
        self._network = network.clone().eval().requires_grad_(False)
        order_memory(self._network, torch.channels_last)  # as the student is while it trains
        self._inputs: Tensor | None = None
        self._outputs: dict[bool, Tensor] = {}

    @torch.no_grad()
    def outputs(self, state: State) -> Tensor:
        """The teacher's outputs [N, classes] on the step's inputs."""
        view = state.view
        if view is None or len(view.inputs) * state.outputs[0].numel() > _REMEMBERED:
            return torch.as_tensor(self._network(state.inputs))
        if self._inputs is not view.inputs:
            self._inputs, self._outputs = view.inputs, {}
        if view.mirrored not in self._outputs:
            parts = view.inputs.split(_BATCH)  # mirrored in parts: a copy of the whole split may not fit
            outputs = [predict(self._network, part.flip(-1) if view.mirrored else part, _BATCH) for part in parts]
            self._outputs[view.mirrored] = torch.cat(outputs)
        return self._outputs[view.mirrored][view.rows]
