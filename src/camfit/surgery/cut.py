"""Takes channels out of layers, or zeroes them, in place: the knife that :mod:`camfit.surgery` holds."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from camfit.forms import Codebook, Masked, attach, form_of, stored_of
from camfit.graph import ChannelGroup
from camfit.network import Network, Slice


def cut(network: Network, removals: Iterable[tuple[ChannelGroup, tuple[int, ...]]]) -> None:
    """Removes channels of groups of the network's graph, all at once, in place.

    Args:
        network: is changed.
        removals: (group, the channels to remove), each group once.

    Raises:
        PlanError: a weight's form cannot lose channels.
    """
    gone: dict[tuple[str, str], set[int]] = {}
    for group, channels in removals:
        for slot in group.slots:
            places = gone.setdefault((slot.layer, slot.dimension), set())
            for channel in channels:
                places.update(slot.positions[channel])
    for path in dict.fromkeys(path for path, _ in gone):
        layer = network.layer(path)
        if isinstance(layer, Slice):
            layer.first -= len(gone.get((path, "before"), set()))
            layer.count -= len(gone.get((path, "within"), set()))
        else:
            _narrow(layer, gone.get((path, "out"), set()), gone.get((path, "in"), set()))


def blank(network: Network, removals: Iterable[tuple[ChannelGroup, tuple[int, ...]]]) -> None:
    """Makes channels zero where they are produced, in place; arguments as for :func:`cut`."""
    for group, channels in removals:
        for slot in group.producers:
            rows = sorted(position for channel in channels for position in slot.positions[channel])
            _zero_rows(network.layer(slot.layer), torch.tensor(rows, dtype=torch.int64))


@torch.no_grad()
def _zero_rows(layer: nn.Module, rows: Tensor) -> None:
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        assert layer.running_mean is not None
        layer.running_mean[rows] = 0
        layer.weight[rows] = 0
    else:
        form, stored, weight = form_of(layer), stored_of(layer).clone(), layer.weight
        assert isinstance(weight, Tensor)
        if isinstance(form, Codebook):
            alive = torch.ones_like(weight, dtype=torch.bool)
            alive[rows] = False
            form, stored = Masked(alive).after(form, stored)
        else:
            stored[rows] = 0
        attach(layer, form, stored)
    if isinstance(layer.bias, Tensor):
        layer.bias[rows] = 0


def _narrow(layer: nn.Module, out: set[int], into: set[int]) -> None:
    """Removes these output and input channels of one layer."""
    if isinstance(layer, nn.Conv2d):
        _narrow_conv(layer, _rest(layer.out_channels, out), _rest(layer.in_channels, into))
    elif isinstance(layer, nn.Linear):
        rows, columns = _rest(layer.out_features, out), _rest(layer.in_features, into)
        _narrow_weight(layer, rows, columns)
        layer.out_features, layer.in_features = len(rows), len(columns)
    else:
        assert isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)
        assert layer.running_mean is not None and layer.running_var is not None
        rows = _rest(layer.num_features, out)
        layer.weight = _parameter(layer.weight, rows)
        layer.bias = _parameter(layer.bias, rows)
        layer.running_mean = layer.running_mean[rows]
        layer.running_var = layer.running_var[rows]
        layer.num_features = len(rows)


def _narrow_conv(layer: nn.Conv2d, rows: Tensor, columns: Tensor) -> None:
    depthwise = layer.groups > 1 and layer.groups == layer.in_channels
    per_group = layer.in_channels // layer.groups
    # The weight's second dimension counts the channels of one group; all groups lose the same places.
    _narrow_weight(layer, rows, torch.zeros(1, dtype=torch.int64) if depthwise else columns[columns < per_group])
    layer.out_channels, layer.in_channels = len(rows), len(columns)
    if depthwise:
        layer.groups = len(columns)


def _narrow_weight(layer: nn.Conv2d | nn.Linear, rows: Tensor, columns: Tensor) -> None:
    form, stored = form_of(layer), stored_of(layer).detach()
    for dimension, index in enumerate((rows, columns)):
        index = index.to(stored.device)
        if form is None:
            stored = stored.index_select(dimension, index)
        else:
            form, stored = form.keep(stored, dimension, index)
    attach(layer, form, stored)
    if layer.bias is not None:
        layer.bias = _parameter(layer.bias, rows)


def _rest(count: int, gone: set[int]) -> Tensor:
    return torch.tensor([position for position in range(count) if position not in gone], dtype=torch.int64)


def _parameter(old: Tensor, rows: Tensor) -> nn.Parameter:
    return nn.Parameter(old.detach()[rows].clone(), requires_grad=old.requires_grad)
