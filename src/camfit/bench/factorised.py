"""Layers and their factors (PR13) timed by turns on the engine, at a given share of the multiply-accumulates.

Times do not depend on what the weights are worth, so the layers may be untrained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from camfit.bench.interleave import interleave, ratios
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.methods.pruning.factorisation.cp import Cp
from camfit.methods.pruning.factorisation.decomposition import Decomposition, Pixels, Ranks, whole_costs
from camfit.methods.pruning.factorisation.spatial import Spatial
from camfit.methods.pruning.factorisation.svd import Svd
from camfit.methods.pruning.factorisation.tucker import Tucker
from camfit.network import INPUT, Network, Node
from camfit.pack import pack
from camfit.plan import Factorise, Plan
from camfit.surgery import apply


@dataclass(frozen=True)
class Factored:
    """One decomposition of one layer.

    Attributes:
        name: of the decomposition.
        ranks: the highest that fit.
        macs: its multiply-accumulates over the layer's.
        time: its milliseconds over the layer's, the median of the rounds.
    """

    name: str
    ranks: Ranks
    macs: float
    time: float


@dataclass(frozen=True)
class LayerTimes:
    """A layer's median milliseconds, one thread, and its decompositions."""

    layer: str
    weight: tuple[int, ...]
    milliseconds: float
    factored: tuple[Factored, ...]


def layer_times(network: Network, share: float = 0.5, seconds: float = 0.6, rounds: int = 6) -> list[LayerTimes]:
    """Every convolution and linear layer of one group by itself, those of one shape on one image size once.

    Args:
        network: stays as it is.
        share: of the layer's multiply-accumulates that its factors may cost at most.
        seconds, rounds: as in :func:`camfit.bench.interleave.interleave`.
    """
    shapes = network.shapes()
    found: list[LayerTimes] = []
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    for node in network.nodes:
        layer = network.get_submodule(node.layer)
        if not isinstance(layer, nn.Conv2d | nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups > 1):
            continue
        weight, shape = tuple(layer.weight.shape), shapes[node.inputs[0]]
        if (weight, shape) in seen:
            continue
        seen.add((weight, shape))
        single = Network((Node("layer", "layer", (INPUT,)),), {"layer": layer}, shape).eval()
        pixels = Pixels.of(single, "layer", single.shapes())
        whole = whole_costs(layer, pixels).macs
        chosen: list[tuple[Decomposition, Ranks, float]] = []
        for decomposition in _decompositions(layer):
            fitting = [r for r in decomposition.ladder if decomposition.costs(r, pixels).macs <= share * whole]
            if fitting:
                chosen.append((decomposition, fitting[-1], decomposition.costs(fitting[-1], pixels).macs / whole))
        chains = [apply(single, Plan("low-rank", (Factorise("layer", d.factors(r)[0]),))) for d, r, _ in chosen]
        whole_time, *times = interleave([_call(net) for net in (single, *chains)], seconds, rounds)
        factored = tuple(
            Factored(decomposition.name, ranks, macs, float(np.median(ratios(taken, whole_time))))
            for (decomposition, ranks, macs), taken in zip(chosen, times, strict=True)
        )
        found.append(LayerTimes(node.layer, weight, float(np.median(whole_time.all)), factored))
    return found


def _decompositions(layer: nn.Conv2d | nn.Linear) -> tuple[Decomposition, ...]:
    if isinstance(layer, nn.Linear) or layer.weight.shape[2:].numel() == 1:
        return (Svd(layer),)
    return Tucker(layer), Spatial(layer), Cp(layer, sweeps=1)


def _call(network: Network) -> Callable[[], object]:
    """One run of the packed network on one image."""
    channels, *size = network.input_shape
    normalisation = Normalisation((0.01,) * channels, (-1.0,) * channels)
    engine = Engine(pack(network, normalisation).data)
    image = np.random.default_rng(0).integers(0, 256, (*(size or (1, 1)), channels), dtype=np.uint8)
    return partial(engine.run, image)
