"""Trains masks and weights against a discriminator that tells the masked network's outputs from the whole one's.

Lin et al., Towards Optimal Structured CNN Pruning via Generative Adversarial Learning (GAL), CVPR 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.evaluate import predict
from camfit.methods.pruning.fista import Fista
from camfit.methods.pruning.soft_masks import MaskedNetwork
from camfit.network import Network

_BATCH = 32
_DECAY = 1e-3


class Discriminator(nn.Module):
    """A small MLP: outputs of a network [N, features] to the logit that they are the whole network's [N].

    Its inputs are normalised by the whole network's outputs, whose mean and deviation it is given.
    """

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.mean, self.deviation = outputs.mean(0), (outputs.var(0, correction=0) + 1e-6).sqrt()
        widths = (outputs.shape[1], 128, 256, 128)
        hidden = [
            layer for before, after in pairwise(widths) for layer in (nn.Linear(before, after), nn.LeakyReLU(0.2))
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], 1)).to(outputs)

    def forward(self, outputs: Tensor) -> Tensor:
        logits: Tensor = self.layers((outputs - self.mean) / self.deviation)
        return logits[:, 0]


class Game:
    """The two players and the images that they play on. No label is looked at.

    Args:
        whole: the baseline.
        masked: the generator, changed as it is trained.
        inputs: images [N, ...].
        adversarial: weight of the discriminator's verdict beside the outputs' squared error.
        rates: learning rates of the weights (Adam) and of the masks (FISTA's step over the masks of a group).
        seed: of the discriminator and of the batches.

    Attributes:
        masks: by FISTA; all begin at one.
    """

    def __init__(
        self,
        whole: Network,
        masked: MaskedNetwork,
        inputs: Tensor,
        adversarial: float,
        rates: tuple[float, float],
        seed: int,
    ) -> None:
        self._masked, self._inputs, self._adversarial = masked, inputs, adversarial
        self._wanted = predict(whole, inputs).flatten(1)
        self._power = float(self._wanted.square().mean().clamp_min(1e-12))
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = Discriminator(self._wanted)
        self._weights = torch.optim.Adam(masked.parameters(), lr=rates[0])
        self._judge = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3, weight_decay=_DECAY)
        # A group's masks add up to one map: each feels a share of the error's curvature, and may step as much farther.
        steps = rates[1] * masked.sizes().to(self._wanted)
        self.masks = Fista(torch.ones_like(steps), steps)

    def play(self, sparsity: Tensor | None) -> float:
        """One pass over the images.

        Args:
            sparsity: λ of each mask; None where masks stay as they are and weights alone are trained.

        Returns:
            The outputs' squared error after it, as a share of their power.
        """
        with torch.enable_grad():
            for rows in self._batches():
                point = self.masks.point.detach().requires_grad_()
                made = self._masked.outputs(self._inputs[rows], point).flatten(1)
                self._judge_once(self._wanted[rows], made.detach())
                loss = self._loss(made, self._wanted[rows])
                self._weights.zero_grad()
                loss.backward()
                if sparsity is not None:
                    assert point.grad is not None
                    value = partial(self._value, rows)
                    self.masks.advance(float(loss.detach()), point.grad, value, sparsity)
                self._weights.step()
                self._masked.settle()
        with torch.no_grad():
            outputs = torch.cat([self._masked.outputs(part, self.masks.values) for part in self._inputs.split(500)])
        return float((outputs.flatten(1) - self._wanted).square().mean()) / self._power

    @torch.no_grad()
    def _value(self, rows: Tensor, masks: Tensor) -> float:
        """The loss of some images under these masks."""
        return float(self._loss(self._masked.outputs(self._inputs[rows], masks).flatten(1), self._wanted[rows]))

    def _batches(self) -> Iterator[Tensor]:
        return iter(torch.randperm(len(self._inputs), generator=self._generator).split(_BATCH))

    def _loss(self, made: Tensor, wanted: Tensor) -> Tensor:
        """½·(squared error as a share of the outputs' power) + how surely the discriminator sees through it."""
        error = (made - wanted).square().mean() / (2 * self._power)
        verdict = self.discriminator(made)
        return error + self._adversarial * F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))

    def _judge_once(self, wanted: Tensor, made: Tensor) -> None:
        self._judge.zero_grad()
        real, false = self.discriminator(wanted), self.discriminator(made)
        loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        (loss + F.binary_cross_entropy_with_logits(false, torch.zeros_like(false))).backward()
        self._judge.step()
