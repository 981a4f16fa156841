"""Batch-norm folded into the layer before it, as integer layers have none. Jacob et al., CVPR 2018, section 3.2."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from camfit.forms import attach, form_of, stored_of
from camfit.network import Network
from camfit.plan import Edit, Remove, Replace

Weighted = nn.Conv2d | nn.Linear


def foldable(network: Network, paths: Collection[str]) -> dict[str, str]:
    """Batch-norm by the layer that takes it in: behind every call of the one stands one of the other, alone."""
    found: dict[str, str] = {}
    for path in paths:
        calls = network.calls(path)
        readers = [network.consumers(call.name) for call in calls]
        norms = {node.layer for nodes in readers for node in nodes}
        if len(norms) != 1 or any(len(nodes) != 1 for nodes in readers) or network.nodes[-1] in calls:
            continue
        (norm,) = norms
        if isinstance(network.get_submodule(norm), nn.BatchNorm2d | nn.BatchNorm1d) and (
            len(network.calls(norm)) == len(calls) and norm not in found.values()
        ):
            found[path] = norm
    return found


@torch.no_grad()
def folded(layer: Weighted, norm: nn.BatchNorm2d | nn.BatchNorm1d) -> Weighted:
    """A layer that computes norm(layer(x)) in evaluation mode; a mask stays."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = 0.0 if layer.bias is None else layer.bias.double()
    shift = norm.bias.double() + (bias - norm.running_mean.double()) * factor
    stored = stored_of(layer)
    return rebuilt(layer, stored * factor.reshape(-1, *[1] * (stored.dim() - 1)), shift)


@torch.no_grad()
def rebuilt(layer: Weighted, stored: Tensor, bias: Tensor | None) -> Weighted:
    """A copy of the layer with this stored weight, in the same form, and this bias."""
    twin, like = copy.deepcopy(layer), stored_of(layer)
    attach(twin, form_of(twin), stored.to(like).contiguous())
    twin.bias = None if bias is None else nn.Parameter(bias.to(like).clone())
    return twin


def replacements(network: Network, layers: dict[str, Weighted], norms: dict[str, str]) -> tuple[Edit, ...]:
    """The edits that put new layers in place and take the folded batch-norms out."""
    order = [path for path in network.layer_paths() if path in layers]
    return (*(Replace(path, layers[path]) for path in order), *(Remove(norms[path]) for path in order if path in norms))
