"""One run of a network over calibration images: everything that planning asks of its values is gathered on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.methods.precision.calibration import Histogram
from camfit.network import INPUT, Network

# Numbers in a batch's largest value, at most (or one image): a batch of ResNet-18 then stays in the cache.
_BATCH = 1 << 23

# Channels are looked at over so many batches; when biases are corrected their values must be held in memory at once.
_FIRST_BATCHES = 4


@dataclass(frozen=True)
class Channels:
    """Of each channel of a value [C], float64: largest magnitude, variance, and the share of places that are not 0."""

    peak: Tensor
    variance: Tensor
    active: Tensor


@dataclass(frozen=True)
class Observed:
    """What a run has shown.

    Attributes:
        histograms: of values, by name.
        means: of the channels of values [C], by name, over ``images``.
        channels: more of the channels of values, by name, over ``images``.
        images: the first of the inputs.
    """

    histograms: dict[str, Histogram]
    means: dict[str, Tensor]
    channels: dict[str, Channels]
    images: Tensor


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
    images = torch.cat(parts[:_FIRST_BATCHES])
    averages: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    peaks: dict[str, Tensor] = {}

    def add(sums: dict[str, Tensor], name: str, part: Tensor) -> None:
        sums[name] = sums[name] + part if name in sums else part

    for number, batch in enumerate(parts):

        def visit(name: str, value: Tensor, share: float = len(batch) / len(images), number: int = number) -> None:
            if name in counted:
                counted[name].see(value)
            if number >= _FIRST_BATCHES:
                return
            if name in means:
                add(averages, name, share * channel_means(value))
            if name in channels:
                peak, moments_of = _peak_and_moments(value)
                peaks[name] = torch.maximum(peaks[name], peak) if name in peaks else peak
                add(moments, name, share * moments_of)

        walk(network, batch, visit)
    found = {
        name: Channels(peaks[name], (power - mean.square()).clamp_min(0), active)
        for name, (mean, power, active) in moments.items()
    }
    return Observed(counted, averages, found, images)


def _peak_and_moments(value: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel [C] of a value [N, C, ...], float64: largest magnitude; mean, mean square and share that is not
    0 [3, C]."""
    places = [dim for dim in range(value.dim()) if dim != 1]
    peak, norm, count = (torch.linalg.vector_norm(value, ord=order, dim=places).double() for order in (torch.inf, 2, 0))
    number = value.numel() / max(1, value.shape[1])
    return peak, torch.stack([channel_means(value).double(), norm.square() / number, count / number])


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
