"""Bias correction. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
section 4.2, with expectations from calibration images (their empirical variant). Weights of layers that read few inputs
are rounded for their output's error on the way (see :mod:`camfit.methods.precision.rounding`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from camfit.forms import Integer, form_of, stored_of
from camfit.layers import Quantize
from camfit.methods.precision.calibration import batches, laid_out
from camfit.methods.precision.folding import Weighted
from camfit.methods.precision.rounding import by_output
from camfit.network import INPUT, Network


@dataclass(frozen=True)
class Corrections:
    """New biases, and weights where they were rounded anew, by layer."""

    biases: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def corrected(
    original: Network, quantized: Network, paths: tuple[str, ...], inputs: Tensor, fan_in: int = 0
) -> Corrections:
    """New biases of ``quantized``: each output channel's mean is then that of ``original``.

    Both run side by side over one batch of the inputs; a layer is corrected before the next one sees its values.

    Args:
        original: the network in float.
        quantized: the same layers, weights and values rounded; its layers named here have a bias and are called once.
        paths: layers to correct.
        fan_in: layers whose outputs read at most so many inputs get other weights too, unless some are pruned.
    """
    original, _ = laid_out(original, inputs[:1])
    quantized, inputs = laid_out(quantized, inputs)
    x = next(batches(quantized, inputs, 1 << 24))
    last = {name: number for number, node in enumerate(quantized.nodes) for name in node.inputs}
    exact, rounded = {INPUT: x}, {INPUT: x}
    found = Corrections()
    for number, node in enumerate(quantized.nodes):
        layer = quantized.get_submodule(node.layer)
        if isinstance(layer, Quantize):
            exact[node.name] = exact[node.inputs[0]]
        else:
            exact[node.name] = original.get_submodule(node.layer)(*(exact[name] for name in node.inputs))
        if node.layer in paths:
            _round_anew(original, quantized, node.layer, rounded[node.inputs[0]], fan_in, found)
        value = layer(*(rounded[name] for name in node.inputs))
        if node.layer in paths:
            assert isinstance(layer, Weighted) and layer.bias is not None
            error = (value - exact[node.name]).double().transpose(0, 1).flatten(1).mean(1).to(value.dtype)
            found.biases[node.layer] = layer.bias.detach() - error
            value = value - error.reshape(1, -1, *[1] * (value.dim() - 2))
        rounded[node.name] = value
        for name in {*node.inputs}:
            if last[name] == number:
                del exact[name], rounded[name]
    return found


def _round_anew(original: Network, quantized: Network, path: str, x: Tensor, fan_in: int, found: Corrections) -> None:
    """Replaces the layer's weight in ``quantized``, and in what was found, where it reads few inputs."""
    layer, source = quantized.layer(path), original.layer(path)
    form = form_of(layer)
    if not isinstance(form, Integer) or form.mask is not None or stored_of(layer)[0].numel() > fan_in:
        return
    assert isinstance(source, Weighted)
    weight = by_output(source, stored_of(source), form.scale, form.limit, x)
    stored_of(layer).copy_(weight)
    found.weights[path] = weight
