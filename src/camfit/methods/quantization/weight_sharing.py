"""Trained weight sharing, the second stage of Deep Compression. Han, Mao, Dally, ICLR 2016 (QZ2).

The first stage is magnitude pruning (PR3); the third, Huffman coding, is the packed file's ``huffman`` coder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from camfit.errors import RecipeError
from camfit.forms import Codebook, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.selection import weighted_layers
from camfit.network import Network
from camfit.plan import Constrain, Edit, Plan

Start = Literal["linear", "density", "forgy"]


@dataclass(frozen=True)
class WeightSharing:
    """k-means over each layer's non-zero weights; every weight becomes an index into the layer's codebook.

    Centroids go on training afterwards: the gradient of a centroid is the sum over its weights. Pruned weights stay
    zero.

    Attributes:
        bits: log₂ of the codebook size, 1 to 16, for layers that ``layer_bits`` does not name.
        layer_bits: bits by layer.
        entries: codebook size by layer where it is no power of two; takes the place of bits.
        start: initial centroids: ``linear`` between the smallest and largest weight (the paper's choice), ``density``
            (equal numbers of weights between neighbours), or ``forgy`` (random weights).
        skip: layers to leave alone.
    """

    bits: int = 5
    layer_bits: dict[str, int] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    start: Start = "linear"
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in {"bits": self.bits, **{f"layer_bits.{k}": v for k, v in self.layer_bits.items()}}.items():
            if not 1 <= value <= 16:
                raise RecipeError(f"weight-sharing: {name} is {value}, expected 1 to 16")
        for name, value in self.entries.items():
            if not 1 <= value <= 65536:
                raise RecipeError(f"weight-sharing: entries.{name} is {value}, expected 1 to 65536")
        if self.start not in ("linear", "density", "forgy"):
            raise RecipeError(f"weight-sharing: start is {self.start!r}, expected 'linear', 'density' or 'forgy'")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """A codebook for every weighted layer; of the calibration only the seed is used (Forgy)."""
        layers = weighted_layers(network, "weight-sharing", self.layer_bits, self.entries, self.skip)
        edits: list[Edit] = []
        notes: dict[str, dict[str, float | int | str]] = {}
        for number, (path, layer) in enumerate(layers.items()):
            if path in self.skip:
                continue
            weight = weight_of(layer).detach()
            alive = weight != 0
            index = torch.full(weight.shape, -1, dtype=torch.int32)
            values = weight[alive]
            count = self.entries.get(path, 2 ** self.layer_bits.get(path, self.bits))
            centroids = torch.zeros(1)
            if values.numel():
                generator = torch.Generator().manual_seed(calibration.seed * 1009 + number)
                centroids, labels = kmeans(values, count, self.start, generator)
                index[alive] = labels
            distortion = float((values - centroids[index[alive]]).square().sum()) if values.numel() else 0.0
            edits.append(Constrain(path, Codebook(index, len(centroids)), centroids))
            notes[path] = {"weights": int(alive.sum()), "entries": len(centroids), "squared error": distortion}
        return Plan("weight-sharing", tuple(edits), f"share weights by k-means ({self.start} start)", notes)


def initial_centroids(values: Tensor, count: int, start: Start, generator: torch.Generator) -> Tensor:
    """Initial centroids of sorted values [n]: sorted, at most ``count``."""
    if start == "linear":
        return torch.linspace(float(values[0]), float(values[-1]), count, dtype=values.dtype)
    if start == "density":
        at = (torch.arange(count, dtype=torch.float64) + 0.5) / count * len(values)
        return values[at.long().clamp(max=len(values) - 1)]
    chosen = torch.randperm(len(values), generator=generator)[:count]
    return values[chosen.sort().values]


def kmeans(
    weights: Tensor, count: int, start: Start, generator: torch.Generator, iterations: int = 300
) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means in one dimension, on sorted values with prefix sums: O(n log n + iterations·k log n).

    Returns:
        (centroids [k], sorted, k ≤ count: clusters that end empty are dropped; label of each weight).
    """
    values, order = weights.flatten().to(torch.float64).sort(stable=True)
    count = min(count, len(torch.unique_consecutive(values)))
    centroids = initial_centroids(values, count, start, generator).unique()
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(iterations):
        borders = torch.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2, right=True)
        edges = torch.cat([borders.new_zeros(1), borders, borders.new_full((1,), len(values))])
        sizes = edges[1:] - edges[:-1]
        means = (sums[edges[1:]] - sums[edges[:-1]]) / sizes.clamp(min=1)
        moved = torch.where(sizes > 0, means, centroids)
        if torch.equal(moved, centroids):
            break
        centroids = moved
    borders = torch.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2, right=True)
    edges = torch.cat([borders.new_zeros(1), borders, borders.new_full((1,), len(values))])
    sizes = edges[1:] - edges[:-1]
    used = sizes > 0
    labels = torch.repeat_interleave(torch.arange(int(used.sum()), dtype=torch.int32), sizes[used])
    result = torch.empty_like(labels)
    result[order] = labels
    return centroids[used].to(weights.dtype), result


ENTRY = Entry(
    row="QZ2",
    name="weight-sharing",
    family="quantization",
    paper="Han, Mao, Dally: Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and "
    "Huffman Coding. ICLR 2016.",
    options=WeightSharing,
)
