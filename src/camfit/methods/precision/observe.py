"""One run of a network over calibration images: everything that planning asks of its values is gathered on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from camfit.methods.precision.calibration import Histogram
from camfit.network import INPUT, Network

# Numbers in a batch's largest value, at most (or one image): a batch of ResNet-18 then stays in the cache.
_BATCH = 1 << 23

# Means are taken over the first batches that have so many images: correcting a bias on one costs as much as looking at
# it, and its values are held in memory all at once.
_IMAGES = 24

# Numbers of a batch of a value that are kept, where its channels are wanted.
_KEPT = 1 << 16


@dataclass(frozen=True)
class Move:
    """(value − shift) / scale of each channel takes the value's place [C], float64."""

    shift: Tensor
    scale: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """The values [..., C] moved."""
        return ((values - self.shift) / self.scale).to(values.dtype)


@dataclass(frozen=True)
class Channels:
    """Of each channel of a value: its ends [C] over all images, and places that were picked evenly [places, C]."""

    low: Tensor
    high: Tensor
    sample: Tensor

    @property
    def peak(self) -> Tensor:
        """Largest magnitude [C]."""
        return torch.maximum(-self.low, self.high)

    @cached_property
    def variance(self) -> Tensor:
        """Of the sample [C], float64."""
        sample = self.sample.double()
        return (sample - sample.mean(0)).square_().mean(0)

    @cached_property
    def active(self) -> Tensor:
        """Share of the sample's places that are not 0 [C], float64."""
        return (self.sample != 0).double().mean(0)

    def moved(self, move: Move) -> Channels:
        """After the value has been moved."""
        low, high = move(torch.stack([self.low, self.high]))
        return Channels(low, high, move(self.sample))

    def histogram(self) -> Histogram:
        """Of the sample, with the exact ends."""
        counted = Histogram()
        counted.see(torch.stack([self.low.min(), self.high.max()]))
        counted.see(self.sample)
        return counted


@dataclass(frozen=True)
class Observed:
    """What a run has shown.

    Attributes:
        histograms: of values, by name.
        means: of the channels of values [C], by name, over ``images``.
        channels: more of the channels of values, by name.
        images: the first of the inputs.
    """

    histograms: dict[str, Histogram]
    means: dict[str, Tensor]
    channels: dict[str, Channels]
    images: Tensor

    def moved(self, moves: Mapping[str, Move]) -> Observed:
        """What a run would have shown of the network whose values were moved so, by name."""
        channels = {name: seen.moved(moves[name]) if name in moves else seen for name, seen in self.channels.items()}
        counted = {name: channels[name].histogram() for name in self.histograms if name in moves}
        means = {name: moves[name](mean) if name in moves else mean for name, mean in self.means.items()}
        return Observed(self.histograms | counted, means, channels, self.images)


@torch.no_grad()
def observe(
    network: Network,
    inputs: Tensor,
    histograms: Collection[str] = (),
    means: Collection[str] = (),
    channels: Collection[str] = (),
) -> Observed:
    """Runs the network over the inputs once.

    Args:
        network: fastest in ``torch.channels_last``.
        histograms: names of the values to count.
        means: names of the values whose channels' means are wanted.
        channels: names of the values of whose channels more is wanted.
    """
    counted = {name: Histogram() for name in histograms}
    parts = list(batches(network, inputs))
    first = -(-_IMAGES // len(parts[0]))
    images = torch.cat(parts[:first])
    averages: dict[str, Tensor] = {}
    ends: dict[str, list[tuple[Tensor, Tensor]]] = {}
    samples: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(parts):

        def visit(name: str, value: Tensor, share: float = len(batch) / len(images), number: int = number) -> None:
            if name in channels:
                rows = by_place(value)
                high = rows.amax(0)
                ends.setdefault(name, []).append((rows.amin(0), high))
                samples.setdefault(name, []).append(rows[:: 1 + rows.numel() // _KEPT].clone())
            elif name in counted:
                counted[name].see(value)
            if number < first and name in means:
                part = share * channel_means(value)
                averages[name] = averages[name] + part if name in averages else part

        walk(network, batch, visit)
    found = {
        name: Channels(
            torch.stack([low for low, _ in seen]).amin(0),
            torch.stack([high for _, high in seen]).amax(0),
            torch.cat(samples[name]),
        )
        for name, seen in ends.items()
    }
    counted |= {name: found[name].histogram() for name in counted if name in found}
    return Observed(counted, averages, found, images)


def by_place(value: Tensor) -> Tensor:
    """A value [N, C, ...] as [places, C]; no copy where it is ``torch.channels_last``."""
    return value.movedim(1, -1).reshape(-1, value.shape[1])


def channel_means(value: Tensor) -> Tensor:
    """Mean of each channel [C] of a value [N, C, ...]."""
    return value.mean([dim for dim in range(value.dim()) if dim != 1])


def walk(network: Network, x: Tensor, visit: Callable[[str, Tensor], Tensor | None]) -> None:
    """Runs the network on x, value by value; a value is let go when its last reader has read it.

    Args:
        visit: called with each value's name and tensor, the input included; what it returns, if not None, takes the
            value's place.
    """
    last = {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    values = {INPUT: x}

    def keep(name: str, value: Tensor) -> None:
        changed = visit(name, value)
        values[name] = value if changed is None else changed

    keep(INPUT, x)
    for number, node in enumerate(network.nodes):
        keep(node.name, network.get_submodule(node.layer)(*(values[name] for name in node.inputs)))
        for name in {*node.inputs}:
            if last[name] == number:
                del values[name]


def batches(network: Network, inputs: Tensor) -> Iterator[Tensor]:
    """The inputs in batches of at most 64 that suit the cache, in ``torch.channels_last``."""
    largest = max(math.prod(shape) for shape in network.shapes().values())
    for batch in inputs.split(max(1, min(64, _BATCH // largest))):
        yield batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch
