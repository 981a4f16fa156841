"""What a network costs when it is cut, measured: bytes of the packed file, milliseconds of the engine.

Of a network as it stands, or as functions of the channels that each group keeps, as :mod:`camfit.cost`'s estimates are.
Which channels go does not matter for either, so the first ones stay; answers are remembered.
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


def size(network: Network) -> float:
    """Bytes of the packed file."""
    return float(len(_packed(network)))


def latency(network: Network) -> float:
    """Milliseconds of one image on the engine, one thread. A measurement: two runs differ by some percent."""
    engine = Engine(_packed(network))
    image = np.zeros(engine.input_shape, dtype=np.uint8)
    return float(np.median([np.median(milliseconds(engine, image, _SECONDS)) for _ in range(_BLOCKS)]))


def size_cost(network: Network, graph: Graph) -> Cost:
    """:func:`size`. The network's own values, so entropy-coded weights count as what they come to."""
    return _remembered(network, graph, size)


def latency_cost(network: Network, graph: Graph) -> Cost:
    """:func:`latency`."""
    return _remembered(network, graph, latency)


def _packed(network: Network) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1.0,) * channels, (0.0,) * channels)).data


def _remembered(network: Network, graph: Graph, measure: Callable[[Network], float]) -> Cost:
    seen: dict[tuple[int, ...], float] = {}
    plain = network.clone().eval()

    def cost(kept: Mapping[str, int]) -> float:
        counts = tuple(kept.get(group.name, len(group)) for group in graph.groups)
        if counts not in seen:
            edits = tuple(
                KeepChannels(group.name, tuple(range(count)))
                for group, count in zip(graph.groups, counts, strict=True)
                if count < len(group)
            )
            seen[counts] = measure(apply(plain, Plan("cost", edits)))
        return seen[counts]

    return cost
