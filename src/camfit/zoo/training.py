"""How to train an architecture from nothing: the numbers that the training loop needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Training:
    """Stochastic gradient descent with Nesterov momentum, found on validation data; fields named as in `camfit.train`.

    epochs: passes over the train split; on small data, as many more as it takes to see `min_steps` batches.
    learning_rate: the highest of the schedule.
    weight_decay: L2 on weights; biases and batch norms have none.
    schedule: "constant", "cosine" (to zero) or "one-cycle" (rises over the first 30 %, then cosine).
    augment: "none", "shift" (by up to 2 pixels), "flip" (left to right) or "flip-shift". `flip` suits pictures that
    keep their class in a mirror: clothes and animals, not digits and letters.
    """

    epochs: int
    learning_rate: float
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    augment: Literal["none", "shift", "flip", "flip-shift"] = "none"
    min_steps: int = 1000

    def epochs_for(self, images: int) -> int:
        """Passes over a train split of this many images."""
        batches = max(1, math.ceil(images / self.batch_size))
        return max(self.epochs, math.ceil(self.min_steps / batches))
