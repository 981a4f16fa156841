"""Convolutions under structured sparsity (PR4) timed by turns on the engine, beside the same layers whole.

Times do not depend on what the weights are worth, so networks may be untrained and patterns are drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from camfit.bench.interleave import interleave, ratios
from camfit.data import Normalisation
from camfit.engine import Engine, Isa
from camfit.method import Calibration
from camfit.methods.pruning.structured_sparsity import StructuredSparsity
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply


@dataclass(frozen=True)
class ScaleTime:
    """One way of pruning a network.

    Attributes:
        options: what was pruned how.
        time: milliseconds of an image over those of the whole network, median of the rounds.
    """

    options: StructuredSparsity
    time: float


def scale_times(
    network: Network,
    calibration: Calibration,
    ways: Sequence[StructuredSparsity],
    isa: Isa = "auto",
    seconds: float = 0.6,
    rounds: int = 6,
) -> list[ScaleTime]:
    """Packed files of the pruned networks beside that of the whole one, one thread.

    Args:
        network: stays as it is.
        ways: ``rounds=0`` draws patterns at random.
        seconds, rounds: as in :func:`camfit.bench.interleave.interleave`.
    """
    channels, *size = network.input_shape
    normalisation = Normalisation((0.01,) * channels, (-1.0,) * channels)
    image = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    pruned = [apply(network, way.plan(network, calibration)) for way in ways]
    engines = [Engine(pack(one, normalisation).data, isa=isa) for one in (network, *pruned)]
    whole, *times = interleave([partial(engine.run, image) for engine in engines], seconds, rounds)
    return [ScaleTime(way, float(np.median(ratios(taken, whole)))) for way, taken in zip(ways, times, strict=True)]
