"""Channel groups: channels of a network that occupy the same places of the same layers, and are cut together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dimension = Literal["out", "in", "before", "within"]


@dataclass(frozen=True)
class Slot:
    """Where a group's channels sit in one layer.

    Attributes:
        layer: the layer's path.
        dimension: ``out``: rows of the weight, bias, batch-norm's vectors; ``in``: what the layer reads; of a slice:
            ``before``: what it leaves out in front, ``within``: what it picks.
        positions: for each channel of the group, its places among the layer's output or input channels: one or, behind
            a flatten or in a grouped convolution, several; equally many for every channel.
    """

    layer: str
    dimension: Dimension
    positions: tuple[tuple[int, ...], ...]

    @property
    def width(self) -> int:
        """Places that one channel takes here."""
        return len(self.positions[0])

    def __str__(self) -> str:
        return f"{self.layer}.{self.dimension}" + (f" ×{self.width}" if self.width > 1 else "")


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are cut in the same places, named after the first layer that produces them."""

    name: str
    slots: tuple[Slot, ...]

    def __len__(self) -> int:
        return len(self.slots[0].positions)

    @property
    def producers(self) -> tuple[Slot, ...]:
        """The slots that compute the channels or rescale them (batch-norm)."""
        return tuple(slot for slot in self.slots if slot.dimension == "out")

    @property
    def consumers(self) -> tuple[Slot, ...]:
        """The slots that read the channels."""
        return tuple(slot for slot in self.slots if slot.dimension == "in")

    def __str__(self) -> str:
        return f"group {self.name!r}: {len(self)} channels at {', '.join(map(str, self.slots))}"


@dataclass(frozen=True)
class Frozen:
    """Why some of a layer's output channels cannot be cut, and the layer to blame (None: an end of the network)."""

    reason: str
    cause: str | None
