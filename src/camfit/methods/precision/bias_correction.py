"""Bias correction. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019,
section 4.2, with expectations from calibration images (their empirical variant)."""

from __future__ import annotations

import torch
from torch import Tensor

from camfit.layers import Quantize
from camfit.methods.precision.calibration import batches
from camfit.methods.precision.folding import Weighted
from camfit.network import INPUT, Network


@torch.no_grad()
def corrected(original: Network, quantized: Network, paths: tuple[str, ...], inputs: Tensor) -> dict[str, Tensor]:
    """New biases of ``quantized`` by layer: each output channel's mean is then that of ``original``.

    Both run side by side over one batch of the inputs; a layer is corrected before the next one sees its values.

    Args:
        original: the network in float.
        quantized: the same layers, weights and values rounded; its layers named here have a bias and are called once.
        paths: layers to correct.
    """
    x = next(batches(quantized, inputs, 1 << 24))
    last = {name: number for number, node in enumerate(quantized.nodes) for name in node.inputs}
    exact, rounded = {INPUT: x}, {INPUT: x}
    found: dict[str, Tensor] = {}
    for number, node in enumerate(quantized.nodes):
        layer = quantized.get_submodule(node.layer)
        if isinstance(layer, Quantize):
            exact[node.name] = exact[node.inputs[0]]
        else:
            exact[node.name] = original.get_submodule(node.layer)(*(exact[name] for name in node.inputs))
        value = layer(*(rounded[name] for name in node.inputs))
        if node.layer in paths:
            assert isinstance(layer, Weighted) and layer.bias is not None
            error = (value - exact[node.name]).double().transpose(0, 1).flatten(1).mean(1).to(value.dtype)
            found[node.layer] = layer.bias.detach() - error
            value = value - error.reshape(1, -1, *[1] * (value.dim() - 2))
        rounded[node.name] = value
        for name in {*node.inputs}:
            if last[name] == number:
                del exact[name], rounded[name]
    return found
