"""What a chain of factors computes, and layers of every geometry to factorise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camfit.methods.pruning.factorisation.decomposition import Factors

# (kernel, stride, padding, dilation)
GEOMETRIES = (
    ((3, 3), (1, 1), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((5, 3), (2, 1), (0, 2), (1, 1)),
    ((3, 3), (1, 2), (2, 3), (2, 3)),
    ((1, 3), (1, 1), (0, 1), (1, 1)),
    ((3, 1), (3, 1), (2, 0), (1, 1)),
)
# Without padding or strides, so that the chain is one convolution.
PLAIN = ((3, 3), (1, 1), (0, 0), (1, 1))


def conv(geometry: tuple[tuple[int, int], ...], inputs: int = 5, outputs: int = 6, bias: bool = True) -> nn.Conv2d:
    """A random convolution of this geometry, in float64."""
    torch.manual_seed(sum(map(sum, geometry)))
    return nn.Conv2d(inputs, outputs, *geometry, bias=bias, dtype=torch.float64)


@torch.no_grad()
def through(factors: Factors, x: Tensor) -> Tensor:
    """What the chain makes of x."""
    for _, layer in factors:
        x = layer(x)
    return x


@torch.no_grad()
def composed(factors: Factors, inputs: int, kernel: tuple[int, int]) -> Tensor:
    """The weight [outputs, inputs, rows, columns] of the one convolution that a chain without strides or padding is."""
    rows, columns = kernel
    x = torch.zeros(inputs, inputs, 2 * rows - 1, 2 * columns - 1, dtype=torch.float64)
    x[range(inputs), range(inputs), rows - 1, columns - 1] = 1
    bias = through(factors, torch.zeros_like(x[:1]))
    return (through(factors, x) - bias).flip(2, 3).transpose(0, 1)
