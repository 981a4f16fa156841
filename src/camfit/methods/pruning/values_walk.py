"""The values of a network at many images, computed once from front to back while what lies behind is being changed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camfit.network import INPUT, Network

# Numbers that the largest value of one batch may have.
_NUMBERS = 1 << 24


class ValuesWalk:
    """Holds, for all images, just the values that nodes from ``at`` on read.

    A method that goes through a network in execution order and changes it behind the walk alone runs each node about
    once, not once for every group of channels.

    Args:
        network: of the first call; later ones may have other weights and fewer channels in the same nodes.
        inputs: images [N, C, H, W].
    """

    def __init__(self, network: Network, inputs: Tensor) -> None:
        self.at = 0
        self._inputs = inputs
        self._held: dict[str, Tensor] = {INPUT: inputs}
        largest = max(math.prod(shape) for shape in network.shapes().values())
        self._batch = max(1, min(len(inputs), _NUMBERS // largest))

    def batches(self) -> list[slice]:
        """Parts of the images of which the values of all nodes may be held."""
        count = len(self._inputs)
        return [slice(start, min(start + self._batch, count)) for start in range(0, count, self._batch)]

    @torch.no_grad()
    def go_to(self, network: Network, stop: int) -> None:
        """Runs the network's nodes in front of number ``stop``; from the start again where the walk is behind it."""
        if stop < self.at:
            self.at, self._held = 0, {INPUT: self._inputs}
        if stop == self.at:
            return
        read = {name for node in network.nodes[stop:] for name in node.inputs}
        parts: dict[str, list[Tensor]] = {}
        for part in self.batches():
            for name, value in self.values(network, stop, part).items():
                if name in read:
                    parts.setdefault(name, []).append(value.clone())
        self._held = {name: torch.cat(of_name) for name, of_name in parts.items()}
        self.at = stop

    @torch.no_grad()
    def values(self, network: Network, stop: int, part: slice) -> dict[str, Tensor]:
        """Values of some images: those held, and of the nodes from the walk's place up to ``stop``, it left out."""
        found = {name: value[part] for name, value in self._held.items()}
        for node in network.nodes[self.at : stop]:
            found[node.name] = network.get_submodule(node.layer)(*(found[name] for name in node.inputs))
        return found

    @torch.no_grad()
    def outputs(self, network: Network) -> Tensor:
        """What the network gives, computed from the walk's place on."""
        last = network.nodes[-1].name
        return torch.cat([self.values(network, len(network.nodes), part)[last] for part in self.batches()])
