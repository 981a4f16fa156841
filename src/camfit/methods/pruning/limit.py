"""A limit of what a whole network costs: products, weights, bytes of its packed file, or milliseconds measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from camfit.cost import macs, weights
from camfit.errors import RecipeError
from camfit.forms import weight_of
from camfit.measured_cost import latency, size
from camfit.network import Network


def products(network: Network) -> float:
    """Multiply-accumulates of one image by weights that are not zero."""
    layers = network.weighted()
    return sum(count * float((weight_of(layers[path]) != 0).double().mean()) for path, count in macs(network).items())


_MEASURES: Mapping[str, tuple[Callable[[Network], float], str]] = MappingProxyType(
    {
        "macs": (products, "multiply-accumulates"),
        "weights": (lambda network: float(sum(weights(network).values())), "weights"),
        "size": (size, "bytes"),
        "latency": (latency, "milliseconds"),
    }
)


def given_limit(method: str, fractions: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The one option of ``macs``, ``weights``, ``size`` and ``latency`` that is given, and its fraction to remove.

    Raises:
        RecipeError: two are given, or one is not in (0, 1).
    """
    given = {name: fraction for name, fraction in fractions.items() if fraction is not None}
    for name, fraction in given.items():
        if not 0 < fraction < 1:
            raise RecipeError(f"{method}: {name} is {fraction}, expected in (0, 1)")
    if len(given) > 1:
        raise RecipeError(f"{method}: {' and '.join(given)} are given, expected at most one limit")
    return next(iter(given.items()), None)


@dataclass(frozen=True)
class Limit:
    """Attributes:
    name: the option that gives it.
    unit: of ``most``.
    cost: what a network costs.
    most: that it may cost.
    """

    name: str
    unit: str
    cost: Callable[[Network], float]
    most: float

    @staticmethod
    def of(network: Network, name: str, fraction: float) -> Limit:
        """Of a network that is to lose the fraction; milliseconds are measured now, and again by ``cost``.

        Of multiply-accumulates, those that zeros spare already count as lost.
        """
        cost, unit = _MEASURES[name]
        whole = float(sum(macs(network).values())) if name == "macs" else cost(network)
        return Limit(name, unit, cost, (1 - fraction) * whole)

    def met(self, network: Network) -> bool:
        """Whether the network is within it."""
        return self.cost(network) <= self.most
