"""ThiNet. Luo, Wu, Lin, A Filter Level Pruning Method for Deep Neural Network Compression, ICCV 2017 (PR7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from camfit.errors import RecipeError
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.reader_samples import Reader
from camfit.methods.pruning.reconstruction import Rebuilt, plan_reconstructing
from camfit.network import Network
from camfit.plan import Plan


@dataclass(frozen=True)
class ThiNet(ChannelBudget):
    """Removes the channels that the next layer misses least, then scales the others to make up for them.

    At sampled output pixels of the next layer, each with one of its filters drawn at random, channel c adds x̂_c to the
    output. Channels go one after the other, always the one with which Σ (sum of the removed x̂)² stays least (the
    paper's algorithm 1); then the remaining ones are scaled by the least squares of the output (eq. 7), which goes into
    the next layer's weights. Groups are cut in execution order, each in the network cut so far.

    Attributes:
        images: calibration images to sample, at most.
        locations: output pixels of each image.
        scale: the least-squares scaling.
    """

    NAME: ClassVar[str] = "thinet"

    images: int = 128
    locations: int = 10
    scale: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("images", self.images), ("locations", self.locations)):
            if value < 1:
                raise RecipeError(f"thinet: {name} is {value}, expected 1 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group, and the scaled weights of the layers that read them.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        few = calibration.first(self.images)
        generator = torch.Generator().manual_seed(calibration.seed)

        def score(found: list[Reader]) -> Tensor:
            order, errors = removals(sampled(found, generator))
            scores = torch.zeros(len(order), dtype=torch.float64)
            scores[order] = errors
            return scores

        def select(found: list[Reader], count: int) -> tuple[int, ...]:
            order, _ = removals(sampled(found, generator))
            return tuple(sorted(order[len(order) - count :].tolist()))

        def rebuild(reader: Reader, kept: Tensor) -> Rebuilt:
            weight = reader.weight[:, kept]
            if not self.scale:
                return Rebuilt(weight)
            return Rebuilt(weight * scales(sampled_with_target(reader, generator), kept)[None, :, None])

        return plan_reconstructing(
            self, network, few, self.locations, score, select, rebuild,
            "the next layers' output errors", original_targets=False,
        )  # fmt: skip


def sampled(found: list[Reader], generator: torch.Generator) -> Tensor:
    """x̂ [samples of all readers, channels]: what each channel adds to one output, drawn at random, of each sample."""
    return torch.cat([sampled_with_target(reader, generator)[0] for reader in found])


def sampled_with_target(reader: Reader, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(x̂ [samples, channels], the output that they add up to [samples])."""
    drawn = torch.randint(len(reader.weight), (len(reader.inputs),), generator=generator)
    parts = (reader.inputs * reader.weight[drawn]).sum(2)
    return parts, reader.target[torch.arange(len(drawn)), drawn]


def removals(parts: Tensor) -> tuple[Tensor, Tensor]:
    """The order in which channels go, and Σ (sum of the removed x̂)² once each is gone.

    Args:
        parts: x̂ [samples, channels].

    Returns:
        (channels, the one to go first at the front; errors of that order), never falling: an error that falls back
        because two channels cancel counts as the highest before it.
    """
    gram = parts.T @ parts
    count = len(gram)
    left = torch.ones(count, dtype=torch.bool)
    with_removed = torch.zeros(count, dtype=gram.dtype)
    order, errors = [], []
    error = 0.0
    for _ in range(count):
        grown = torch.where(left, error + 2 * with_removed + gram.diagonal(), torch.inf)
        chosen = int(grown.argmin())
        error = max(0.0, float(grown[chosen]))
        left[chosen] = False
        with_removed += gram[chosen]
        order.append(chosen)
        errors.append(error)
    return torch.tensor(order), torch.tensor(errors, dtype=gram.dtype).cummax(0).values


def scales(samples: tuple[Tensor, Tensor], kept: Tensor) -> Tensor:
    """The factors of the kept channels that come nearest the output in least squares [kept]."""
    parts, output = samples[0][:, kept], samples[1]
    gram = parts.T @ parts
    # A channel that adds nothing keeps its weights: a little pull towards 1 decides what the samples leave open.
    pull = 1e-6 * gram.diagonal().mean().clamp_min(1e-30)
    gram.diagonal().add_(pull)
    wanted = parts.T @ output + pull
    factors: Tensor = torch.linalg.solve(gram, wanted)
    return factors


ENTRY = Entry(
    row="PR7",
    name="thinet",
    family="pruning",
    paper="Luo, Wu, Lin: ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression. ICCV 2017.",
    options=ThiNet,
)
