"""One run of a network over calibration images: everything that planning asks of its values is gathered on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.methods.precision.calibration import Histogram
from camfit.network import INPUT, Network, order_memory

# Numbers in a batch's largest value, at most (or one image): a batch of ResNet-18 then stays in the cache.
_BATCH = 1 << 23

# Means are taken over so many batches; their values must be held in memory at once when biases are corrected.
_MEAN_BATCHES = 2


@dataclass(frozen=True)
class Observed:
    """What a run has shown.

    Attributes:
        histograms: of values, by name.
        means: of the channels of values [C], by name, over ``images``.
        images: the first of the inputs.
    """

    histograms: dict[str, Histogram]
    means: dict[str, Tensor]
    images: Tensor


@torch.no_grad()
def observe(
    network: Network, inputs: Tensor, histograms: Collection[str], means: Collection[str] = frozenset()
) -> Observed:
    """Runs the network over the inputs once.

    Args:
        network: fastest in ``torch.channels_last``.
        histograms: names of the values to count.
        means: names of the values whose channels' means are wanted.
    """
    counted = {name: Histogram() for name in histograms}
    parts = list(batches(network, inputs))
    images = torch.cat(parts[:_MEAN_BATCHES])
    sums: dict[str, Tensor] = {}

    for number, batch in enumerate(parts):

        def visit(name: str, value: Tensor, share: float = len(batch) / len(images), number: int = number) -> None:
            if name in counted:
                counted[name].see(value)
            if name in means and number < _MEAN_BATCHES:
                part = share * channel_means(value)
                sums[name] = sums[name] + part if name in sums else part

        walk(network, batch, visit)
    return Observed(counted, sums, images)


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


def laid_out(network: Network) -> Network:
    """A copy of the network in the order in memory in which torch's convolutions are fast."""
    copy = network.clone()
    order_memory(copy, torch.channels_last)
    return copy


def batches(network: Network, inputs: Tensor) -> Iterator[Tensor]:
    """The inputs in batches of at most 64 that suit the cache, in ``torch.channels_last``."""
    largest = max(math.prod(shape) for shape in network.shapes().values())
    for batch in inputs.split(max(1, min(64, _BATCH // largest))):
        yield batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch
