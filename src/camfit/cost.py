"""What a network costs by its graph: multiply-accumulates and weights.

Estimates for planning; what reports show is measured on the packed file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from camfit.forms import Codebook, Integer, Masked, form_of, stored_of
from camfit.graph import Dimension, Graph
from camfit.network import Network

Cost = Callable[[Mapping[str, int]], float]
"""Cost of the network when each named unit (channel group, layer) keeps so many of its elements; units that are not
named stay whole. It never falls as a number rises."""


def macs(network: Network) -> dict[str, int]:
    """Multiply-accumulates of one image by weighted layer, all calls of a shared layer counted.

    Zeros inside a weight count: only channels that are gone save any. Biases and other layers count nothing; one
    multiply-accumulate of a binary layer counts as one.
    """
    shapes = network.shapes()
    return {
        path: _weight_size(layer) * sum(math.prod(shapes[node.name][1:]) for node in network.calls(path))
        for path, layer in network.weighted().items()
    }


def parameters(network: Network) -> dict[str, int]:
    """Numbers that each layer has to store: weights (pruned ones not counted; buckets of a hashed weight), biases, and
    batch-norm's scale and shift. Layers without any are left out."""
    counts: dict[str, int] = {}
    for path, layer in network.layers():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bias = 0 if layer.bias is None else layer.bias.numel()
            counts[path] = _stored_weights(layer) + bias
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            counts[path] = 2 * layer.num_features
    return counts


def weights(network: Network) -> dict[str, int]:
    """Numbers that each weighted layer has to store for its weight alone: :func:`parameters` without biases."""
    return {path: _stored_weights(layer) for path, layer in network.weighted().items()}


def mac_cost(network: Network, graph: Graph) -> Cost:
    """Total :func:`macs` as a function of the channels that each group of the graph keeps."""
    shapes = network.shapes()
    terms = [
        _Product(network, graph, path, sum(math.prod(shapes[node.name][1:]) for node in network.calls(path)))
        for path in network.weighted()
    ]
    return lambda kept: float(sum(term(kept) for term in terms))


def weight_cost(network: Network, graph: Graph) -> Cost:
    """Weights, biases and batch-norm values of a dense network as a function of the channels that each group keeps."""
    products = [_Product(network, graph, path, 1) for path in network.weighted()]
    vectors: list[tuple[int, _Width]] = []
    for path, layer in network.layers():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            vectors.append((2, _Width(graph, path, "out", layer.num_features)))
        elif isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            vectors.append((1, _Width(graph, path, "out", layer.bias.numel())))
    return lambda kept: float(sum(term(kept) for term in products) + sum(n * width(kept) for n, width in vectors))


class _Width:
    """Channels of one side of a layer as a function of what the groups keep."""

    def __init__(self, graph: Graph, layer: str, dimension: Dimension, whole: int) -> None:
        self.whole = whole
        self.parts = [
            (group.name, len(group), slot.width)
            for group in graph.groups
            for slot in group.slots
            if slot.layer == layer and slot.dimension == dimension
        ]

    def __call__(self, kept: Mapping[str, int]) -> int:
        return self.whole - sum((size - kept.get(name, size)) * width for name, size, width in self.parts)


class _Product:
    """Weights of one layer, ``times`` a constant, as a function of what the groups keep."""

    def __init__(self, network: Network, graph: Graph, path: str, times: int) -> None:
        layer = network.get_submodule(path)
        if isinstance(layer, nn.Conv2d):
            rows, columns, groups = layer.out_channels, layer.in_channels, layer.groups
            self.times = times * math.prod(layer.kernel_size)
        else:
            assert isinstance(layer, nn.Linear)
            rows, columns, groups = layer.out_features, layer.in_features, 1
            self.times = times
        self.rows = _Width(graph, path, "out", rows)
        self.columns = _Width(graph, path, "in", columns)
        # Depth-wise layers lose whole groups; the other kinds lose channels of every group.
        self.per_group = 1 if groups == columns > 1 else None
        self.groups = groups

    def __call__(self, kept: Mapping[str, int]) -> int:
        columns = self.per_group if self.per_group is not None else self.columns(kept) // self.groups
        return self.times * self.rows(kept) * columns


def _weight_size(layer: nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.numel()


def _stored_weights(layer: nn.Module) -> int:
    form = form_of(layer)
    if isinstance(form, Masked | Integer) and form.mask is not None:
        return int(form.mask.sum())
    if isinstance(form, Codebook):
        return int((form.index >= 0).sum())
    return stored_of(layer).numel()
