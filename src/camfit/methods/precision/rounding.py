"""Weights rounded for the least error of their layer's output instead of their own. Frantar et al., Optimal Brain
Compression, NeurIPS 2022, in the column order of GPTQ (Frantar et al., ICLR 2023).

The squared error of a row is e H eᵀ, H the covariance of the layer's inputs. One column after the other is rounded, and
the columns that are not rounded yet take over its error as well as they can: with U the upper Cholesky factor of H⁻¹,
w_k.. -= (w_k − q_k) / U_kk · U_k...
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.methods.precision.folding import Weighted
from camfit.methods.precision.observe import by_place

# Places of a layer's input that its covariance is taken from, at most; and the share of H's mean diagonal added to it.
_PLACES = 1 << 15
_DAMPING = 1e-3


@torch.no_grad()
def rounded_by_output(rows: Tensor, scale: Tensor, covariance: Tensor, limit: int) -> Tensor:
    """Multiples of the scale, at most ``limit`` of them, in place of the weights.

    Args:
        rows: weights [groups, rows, inputs].
        scale: of each row [groups, rows].
        covariance: of the inputs of each group [groups, inputs, inputs].
    """
    work, step = rows.double().clone(), scale.double()
    inputs = rows.shape[2]
    damping = _DAMPING * covariance.diagonal(dim1=1, dim2=2).double().mean(1).clamp_min(1e-30)
    regular = covariance.double() + damping[:, None, None] * torch.eye(inputs, dtype=torch.float64)
    upper = torch.linalg.cholesky(torch.linalg.inv(regular), upper=True)
    found = torch.empty_like(work)
    for column in range(inputs):
        value = work[..., column]
        found[..., column] = step * torch.floor(value / step + 0.5).clamp(-limit, limit)
        error = (value - found[..., column]) / upper[:, column, column, None]
        work[..., column:] -= error[..., None] * upper[:, column, None, column:]
    # In float32 a multiple must round to itself.
    return (torch.floor(found / step[..., None] + 0.5) * step[..., None]).to(rows.dtype)


@torch.no_grad()
def input_covariance(layer: Weighted, x: Tensor) -> Tensor:
    """Covariance of what one output reads [groups, inputs, inputs], float64, about the mean: a bias can take its error.

    x: the layer's input [N, C, H, W], or [N, C].
    """
    if isinstance(layer, nn.Conv2d) and layer.groups == layer.weight[0, 0].numel() == 1 and not any(layer.padding):
        rows = by_place(x[:, :, :: layer.stride[0], :: layer.stride[1]])
        columns = rows[:: 1 + len(rows) // _PLACES].T[None]
    elif isinstance(layer, nn.Conv2d):
        groups = layer.groups
        height, width = layer.kernel_size
        # Whole images, and of these only some: a sample of places within would need all the unfolding first.
        per_image = x[0, 0].numel() // (layer.stride[0] * layer.stride[1])
        most = max(1, _PLACES // max(1, per_image))
        seen = x[:: -(-len(x) // most)].contiguous()
        assert isinstance(layer.padding, tuple)
        columns = F.unfold(seen, (height, width), layer.dilation, layer.padding, layer.stride)
        columns = columns.transpose(0, 1).reshape(groups, x.shape[1] // groups * height * width, -1)
    else:
        columns = x.reshape(-1, x.shape[-1]).T[None]
    # Neighbours in a smooth image are nearly equal: sums in float32 would make H neither symmetric nor definite.
    columns = columns.double()
    columns = columns - columns.mean(2, keepdim=True)
    return columns @ columns.transpose(1, 2) / columns.shape[2]


@torch.no_grad()
def by_output(layer: Weighted, weight: Tensor, scale: Tensor, limit: int, x: Tensor) -> Tensor:
    """The layer's weight rounded for inputs like x [the weight's shape]."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    found = rounded_by_output(rows, scale.reshape(groups, -1), input_covariance(layer, x), limit)
    return found.reshape(weight.shape)
