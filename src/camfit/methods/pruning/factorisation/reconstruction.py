"""The last factor of each chain refitted to what its layer computed.

Zhang, Zou, He, Sun, Accelerating Very Deep Convolutional Networks for Classification and Detection, TPAMI 2016, section
2.3, *asymmetric*: targets come from the original network, inputs from the one that is factorised already, so that each
layer repairs what those before it lost. Only the last factor is fitted, and without their non-linearity, which leaves
a linear system for every decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.layers import pair
from camfit.methods.pruning.factorisation.decomposition import Factors
from camfit.network import INPUT, Network

# Images looked at, and the numbers that the largest value of all of them may have: values of both networks are held.
_IMAGES, _NUMBERS = 1024, 1 << 25
# Equations a layer, drawn from all places of its output in all images.
_EQUATIONS = 20_000
# Of the mean squared input: how strongly the factor is held where it is. Few images say little about many weights.
_RIDGE = 1e-2


@torch.no_grad()
def refit(network: Network, chains: Mapping[str, Factors], inputs: Tensor, seed: int) -> None:
    """Changes the weight, and the bias where there is one, of each chain's last factor in place.

    Args:
        network: the original; stays as it is.
        chains: factors by layer. Layers called more than once are left as they are.
        inputs: calibration images [N, ...]; the first 1024, or as many as 128 MB hold at the largest value.
        seed: of the places drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    largest = max(math.prod(shape) for shape in network.shapes().values())
    inputs = inputs[: max(1, min(_IMAGES, _NUMBERS // largest))]
    last = {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    exact, cheap = {INPUT: inputs}, {INPUT: inputs}
    for number, node in enumerate(network.nodes):
        layer, chain = network.get_submodule(node.layer), chains.get(node.layer)
        exact[node.name] = layer(*(exact[name] for name in node.inputs))
        if chain is None:
            cheap[node.name] = layer(*(cheap[name] for name in node.inputs))
        else:
            value = cheap[node.inputs[0]]
            for _, factor in chain[:-1]:
                value = factor(value)
            factor = chain[-1][1]
            if len(network.calls(node.layer)) == 1:
                _fit(factor, value, exact[node.name], generator)
            cheap[node.name] = factor(value)
        for name in {*node.inputs}:
            if last[name] == number:
                del exact[name], cheap[name]


def _fit(factor: nn.Module, value: Tensor, target: Tensor, generator: torch.Generator) -> None:
    """Least squares for weight and bias of a factor that reads ``value`` and should give ``target``."""
    assert isinstance(factor, nn.Conv2d | nn.Linear)
    read, missing = _equations(factor, value, target - factor(value), generator)
    if factor.bias is not None:
        read = torch.cat([read, torch.ones(len(read), 1, dtype=read.dtype)], 1)
    system = read.T @ read
    ridge = _RIDGE * float(system.diagonal().mean())
    if not ridge > 0:
        return
    change = torch.linalg.solve(system + ridge * torch.eye(len(system), dtype=system.dtype), read.T @ missing).T
    size = factor.weight[0].numel()
    factor.weight += change[:, :size].reshape(factor.weight.shape).to(factor.weight)
    if factor.bias is not None:
        factor.bias += change[:, size].to(factor.bias)


def _equations(
    factor: nn.Conv2d | nn.Linear, value: Tensor, missing: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(what each place reads [n, inputs · kernel], what it lacks [n, outputs]), float64."""
    if isinstance(factor, nn.Linear):
        read, wanted = value, missing
    else:
        columns = F.unfold(
            value, pair(factor.kernel_size), pair(factor.dilation), pair(factor.padding), pair(factor.stride)
        )
        read, wanted = columns.transpose(1, 2).flatten(0, 1), missing.flatten(2).transpose(1, 2).flatten(0, 1)
    if len(read) > _EQUATIONS:
        places = torch.randperm(len(read), generator=generator)[:_EQUATIONS]
        read, wanted = read[places], wanted[places]
    return read.double(), wanted.double()
