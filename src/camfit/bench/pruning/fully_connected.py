"""The survey's Fig. 4 from our own measurements: AlexNet's and VGG-16's fully connected layers, pruned, on this CPU.

The figure is Han et al.'s ("Deep Compression", ICLR 2016, fig. 9): the densities are that paper's tables 4 and 5. Times
do not depend on what the weights are worth, so these are random. The second part prunes one layer further and further,
to find the density at which it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec
import numpy as np
import torch
from torch import nn

from camfit.bench.interleave import interleave, ratios
from camfit.bench.page import milliseconds, percent, table
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.forms import Codebook, Masked, attach
from camfit.network import INPUT, Network, Node
from camfit.pack import pack

# Network, layer, inputs, outputs, density.
_LAYERS = (
    ("AlexNet", "fc6", 9216, 4096, 0.09),
    ("AlexNet", "fc7", 4096, 4096, 0.09),
    ("AlexNet", "fc8", 4096, 1000, 0.25),
    ("VGG-16", "fc6", 25088, 4096, 0.04),
    ("VGG-16", "fc7", 4096, 4096, 0.04),
    ("VGG-16", "fc8", 4096, 1000, 0.23),
)
_SWEPT = (4096, 4096)
_DENSITIES = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
_VALUES = 32  # centroids of a layer, as the paper's linear layers have
_SECONDS = 0.6
_PAYS = 0.95  # of the dense time: less than that is more than noise


class Fig4(msgspec.Struct, frozen=True):
    """One layer at one density, one image, one thread.

    Attributes:
        dense: milliseconds of the dense layer.
        pruned, shared: time over the dense layer's, with float32 values, and with 32 shared ones.
        dense_bytes, pruned_bytes, shared_bytes: of the packed files.
    """

    network: str
    layer: str
    inputs: int
    outputs: int
    density: float
    dense: float
    pruned: float
    shared: float
    dense_bytes: int
    pruned_bytes: int
    shared_bytes: int


def fully_connected(progress: Callable[[str], None], seed: int = 0) -> list[Fig4]:
    """Six layers at the paper's densities, then 4096→4096 from dense to sparse."""
    rows = [*_LAYERS, *(("", "swept", *_SWEPT, density) for density in _DENSITIES)]
    found = []
    for network, layer, inputs, outputs, density in rows:
        found.append(_measured(network, layer, inputs, outputs, density, seed))
        progress(f"{network} {layer} {inputs}→{outputs}, {100 * density:.0f} %: {found[-1].pruned:.2f} of dense")
    return found


def _measured(name: str, layer: str, inputs: int, outputs: int, density: float, seed: int) -> Fig4:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    limit = float(np.quantile(weight.abs().flatten()[:1_000_000].numpy(), 1 - density))
    mask = weight.abs() > limit
    centroids = torch.linspace(float(weight.min()), float(weight.max()), _VALUES)
    index = torch.where(mask, torch.bucketize(weight, (centroids[1:] + centroids[:-1]) / 2), -1)
    files = []
    for form in (None, Masked(mask), Codebook(index, _VALUES)):
        linear = nn.Linear(inputs, outputs)
        linear.weight.data = weight
        if form is not None:
            attach(linear, form, centroids if isinstance(form, Codebook) else weight)
        nodes = (Node("flat", "flat", (INPUT,)), Node("fc", "fc", ("flat",)))
        network = Network(nodes, {"flat": nn.Flatten(), "fc": linear}, (inputs, 1, 1)).eval()
        files.append(pack(network, Normalisation((1.0,) * inputs, (0.0,) * inputs)).data)
    engines = [Engine(file) for file in files]
    image = np.full((1, 1, inputs), 1, np.float32)
    dense, pruned, shared = interleave([partial(engine.run, image) for engine in engines], _SECONDS, rounds=8)
    return Fig4(
        name, layer, inputs, outputs, density, float(np.median(dense.all)),
        float(np.median(ratios(pruned, dense))), float(np.median(ratios(shared, dense))), *map(len, files),
    )  # fmt: skip


def pays_from(layers: Sequence[Fig4], of: Callable[[Fig4], float]) -> float | None:
    """The highest density of the swept layer from which on, downwards, every time is clearly below the dense one's."""
    paid = None
    for layer in sorted((layer for layer in layers if layer.layer == "swept"), key=lambda layer: layer.density):
        if of(layer) >= _PAYS:
            break
        paid = layer.density
    return paid


def fig4_lines(layers: Sequence[Fig4]) -> Iterator[str]:
    """Markdown of both parts."""
    yield from (
        "## Fully connected layers before and after pruning",
        "",
        "The survey's Fig. 4 (from Han et al.) on this CPU: AlexNet's and VGG-16's layers at that paper's densities,",
        "random weights, one image, one thread. *pruned*: float32 values; *shared*: 32 values. Times are the engine's,",
        "which takes the cheapest form of each layer (docs/engine.md).",
        "",
    )
    head = ("network", "layer", "size", "weights left", "dense, ms", "pruned", "shared", "bytes", "pruned", "shared")
    yield from table(head, (_line(layer) for layer in layers if layer.network), left=3)
    yield ""
    swept = [layer for layer in layers if layer.layer == "swept"]
    paid = {
        "float32 values": pays_from(layers, lambda row: row.pruned),
        "32 values": pays_from(layers, lambda row: row.shared),
    }
    said = "; ".join(
        f"with {name} from {100 * at:.0f} % of the weights down" if at else f"with {name} at none of these densities"
        for name, at in paid.items()
    )
    yield f"Pruning a layer of {_SWEPT[0]}→{_SWEPT[1]} pays (less than {_PAYS:.2f} of the dense time) {said}:"
    yield ""
    yield from table(
        ("weights left", "pruned", "shared"),
        ((percent(row.density), f"{row.pruned:.2f}", f"{row.shared:.2f}") for row in swept),
        left=1,
    )


def _line(row: Fig4) -> tuple[str, ...]:
    return (
        row.network, row.layer, f"{row.inputs}→{row.outputs}", percent(row.density), milliseconds(row.dense),
        f"{row.pruned:.2f}", f"{row.shared:.2f}", f"{row.dense_bytes:,}", f"{row.pruned_bytes:,}",
        f"{row.shared_bytes:,}",
    )  # fmt: skip
