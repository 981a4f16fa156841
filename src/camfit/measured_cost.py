"""What a network costs when it is cut, measured: bytes of the packed file, milliseconds of the engine.

Functions of the channels that each group keeps, as :mod:`camfit.cost`'s estimates are. Which channels go does not
matter for either, so the first ones stay; answers are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from camfit.cost import Cost
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.graph import Graph
from camfit.measure import milliseconds
from camfit.network import Network
from camfit.pack import pack
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply

# Timed calls of one candidate, in seconds; the median of as many blocks counts.
_SECONDS, _BLOCKS = 0.03, 5


def size_cost(network: Network, graph: Graph) -> Cost:
    """Bytes of the packed file. The network's own values, so entropy-coded weights count as what they come to."""
    return _remembered(network, graph, lambda data: float(len(data)))


def latency_cost(network: Network, graph: Graph) -> Cost:
    """Milliseconds of one image on the engine, one thread. A measurement: two runs differ by some percent."""

    def median(data: bytes) -> float:
        engine = Engine(data)
        image = np.zeros(engine.input_shape, dtype=np.uint8)
        return float(np.median([np.median(milliseconds(engine, image, _SECONDS)) for _ in range(_BLOCKS)]))

    return _remembered(network, graph, median)


def _remembered(network: Network, graph: Graph, measure: Callable[[bytes], float]) -> Cost:
    seen: dict[tuple[int, ...], float] = {}
    plain = network.clone().eval()
    channels = network.input_shape[0]
    normalisation = Normalisation((1.0,) * channels, (0.0,) * channels)

    def cost(kept: Mapping[str, int]) -> float:
        counts = tuple(kept.get(group.name, len(group)) for group in graph.groups)
        if counts not in seen:
            edits = tuple(
                KeepChannels(group.name, tuple(range(count)))
                for group, count in zip(graph.groups, counts, strict=True)
                if count < len(group)
            )
            seen[counts] = measure(pack(apply(plain, Plan("cost", edits)), normalisation).data)
        return seen[counts]

    return cost
