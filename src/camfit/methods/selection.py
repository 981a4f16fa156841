"""Which layers a method works on: all weighted ones, with every layer that its options name checked to exist."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from camfit.errors import RecipeError
from camfit.network import Network


def weighted_layers(network: Network, method: str, *named: Iterable[str]) -> dict[str, nn.Module]:
    """The network's convolutions and linear layers by path.

    Args:
        method: name for the error.
        named: paths that the method's options mention.

    Raises:
        RecipeError: an option names a layer that is not there; lists those that are.
    """
    layers = network.weighted()
    for path in (path for group in named for path in group):
        if path not in layers:
            raise RecipeError(f"{method}: no layer {path!r} with weights; expected one of {', '.join(layers)}")
    return layers
