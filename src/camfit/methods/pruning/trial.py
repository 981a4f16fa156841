"""What a cut is worth: accuracy on held-out images after a short recovery by distillation from the whole network."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from camfit.evaluate import predict
from camfit.method import Calibration
from camfit.network import Network
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply
from camfit.tasks.classification import accuracy

_BATCH, _RATE = 64, 1e-3


class Trial:
    """Tries cuts of one network, one like the other; answers are remembered.

    Args:
        network: stays as it is.
        calibration: the first half is recovered on, the other is held out; a single image serves both.
        updates: gradient steps of the recovery.
    """

    def __init__(self, network: Network, calibration: Calibration, updates: int) -> None:
        half = (len(calibration.inputs) + 1) // 2
        self._network = network.clone().eval()
        self._updates = updates
        self._taught = calibration.inputs[:half]
        self._answers = predict(self._network, self._taught)
        self._power = float(self._answers.square().mean().clamp_min(1e-12))
        held = slice(half if len(calibration.inputs) > half else 0, None)
        self._inputs, self._targets = calibration.inputs[held], calibration.targets[held]
        self._loss = calibration.loss
        self._seen: dict[tuple[KeepChannels, ...], float] = {}

    def accuracy(self, cut: Iterable[KeepChannels]) -> float:
        """Share of the held-out images that the cut network names rightly, in [0, 1].

        A network whose outputs are no vectors of classes is judged by exp(−loss) instead.
        """
        edits = tuple(cut)
        if edits not in self._seen:
            self._seen[edits] = self._judged(self._recovered(apply(self._network, Plan("trial", edits))))
        return self._seen[edits]

    def _recovered(self, student: Network) -> Network:
        """The cut network after its updates towards the whole network's outputs; batch-norm keeps its statistics."""
        batch = min(_BATCH, len(self._taught))
        optimizer = torch.optim.Adam(student.requires_grad_(True).parameters(), lr=_RATE)
        with torch.enable_grad():
            for number in range(self._updates):
                at = torch.arange(number * batch, (number + 1) * batch) % len(self._taught)
                optimizer.zero_grad()
                ((student(self._taught[at]) - self._answers[at]).square().mean() / self._power).backward()
                optimizer.step()
        return student

    @torch.no_grad()
    def _judged(self, network: Network) -> float:
        outputs: Tensor = predict(network, self._inputs)
        if outputs.dim() == 2:
            return accuracy(outputs, self._targets)
        likelihood = float(torch.exp(-self._loss(outputs, self._targets)))
        return likelihood if math.isfinite(likelihood) else 0.0
