"""Bias correction. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
section 4.2, with expectations from calibration images (their empirical variant). Weights of layers that read few inputs
are rounded for their output's error on the way (see :mod:`camfit.methods.precision.rounding`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camfit.forms import Integer, form_of, stored_of
from camfit.methods.precision.folding import Weighted
from camfit.methods.precision.observe import channel_means
from camfit.methods.precision.rounding import by_output
from camfit.network import INPUT, Network


@dataclass(frozen=True)
class Corrections:
    """New biases, and weights where they were rounded anew, by layer."""

    biases: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def corrected(network: Network, means: Mapping[str, Tensor], inputs: Tensor, fan_in: int = 0) -> Corrections:
    """New biases, with which each output channel has the mean that it has in float.

    A layer is corrected before the next one sees its values.

    Args:
        network: weights and values rounded. Where weights are rounded anew, it changes.
        means: of the channels of values [C] on the inputs in float, by name. Their layers are corrected: they have a
            bias and are called once.
        inputs: one batch.
        fan_in: layers whose outputs read at most so many inputs get other weights too, unless some are pruned.
    """
    last = {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    values = {INPUT: inputs}
    found = Corrections()
    for number, node in enumerate(network.nodes):
        layer = network.get_submodule(node.layer)
        if node.name in means:
            _round_anew(network, node.layer, values[node.inputs[0]], fan_in, found)
        value = layer(*(values[name] for name in node.inputs))
        if node.name in means:
            assert isinstance(layer, Weighted) and layer.bias is not None
            error = channel_means(value) - means[node.name]
            found.biases[node.layer] = layer.bias.detach() - error
            value -= error.reshape(1, -1, *[1] * (value.dim() - 2))
        values[node.name] = value
        for name in {*node.inputs}:
            if last[name] == number:
                del values[name]
    return found


def _round_anew(network: Network, path: str, x: Tensor, fan_in: int, found: Corrections) -> None:
    """Replaces the layer's weight, and notes it in what was found, where it reads few inputs."""
    layer = network.layer(path)
    form = form_of(layer)
    if not isinstance(form, Integer) or form.mask is not None or stored_of(layer)[0].numel() > fan_in:
        return
    assert isinstance(layer, Weighted)
    weight = by_output(layer, stored_of(layer), form.scale, form.limit, x)
    stored_of(layer).copy_(weight)
    found.weights[path] = weight
