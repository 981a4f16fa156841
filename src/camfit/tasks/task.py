"""The contract between a task and the training loop, the engine's measurement and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Task:
    """Loss and metric of one kind of learning problem.

    loss(outputs, targets): mean loss of a batch, a differentiable scalar.
    metric(outputs, targets): quality over a whole set, in [0, 1], higher is better; torch tensors or numpy arrays, so
    that the network in torch and the packed file's engine are judged by the same lines.
    """

    name: str
    metric_name: str
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    metric: Callable[[torch.Tensor | np.ndarray, torch.Tensor | np.ndarray], float]
