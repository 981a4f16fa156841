"""Half of a channel shuffle: what a view of an image's channels in two dimensions stands for until it ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Fold:
    """A view of the image ``source``: its channels as [groups, places] or, ``swapped``, as [places, groups]."""

    source: torch.fx.Node
    groups: int
    places: int
    swapped: bool

    @property
    def shuffles(self) -> bool:
        """Whether the channels are in another order than before."""
        return self.swapped and self.groups > 1 and self.places > 1


SHUFFLE = "a channel shuffle: channels seen as [groups, places], these two transposed, and seen as channels again"
