"""Information that a feature map holds about the label: information gain of a quantized value."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 8


@torch.no_grad()
def information_gain(values: Tensor, targets: Tensor, bins: int = BINS) -> Tensor:
    """IG(y|x) = H(x) + H(y) − H(x, y) in bits, for each column x of ``values``.

    Molchanov et al., ICLR 2017, section 2.2, who leave the quantization open: each column is cut at its own quantiles
    into ``bins`` parts as equal as ties allow, so that a column's scale does not matter.

    Args:
        values: [N, columns].
        targets: labels [N], whole numbers from 0.

    Returns:
        [columns], float64.
    """
    ordered = values.double().sort(0).values
    cuts = ordered[[len(values) * part // bins for part in range(1, bins)]]
    # Equal values fall into one bin: as many cuts as are at or below the value.
    codes = (values.double()[:, None] >= cuts[None]).sum(1)
    classes = int(targets.max()) + 1
    joint = codes * classes + targets[:, None].to(codes)
    label = _entropy(torch.bincount(targets, minlength=classes)[None].double())
    counts = torch.zeros(values.shape[1], bins * classes, dtype=torch.float64)
    counts.scatter_add_(1, joint.T, torch.ones(joint.T.shape, dtype=torch.float64))
    both = _entropy(counts)
    of_values = _entropy(counts.reshape(-1, bins, classes).sum(2))
    return (of_values + label - both).clamp_min(0)


def _entropy(counts: Tensor) -> Tensor:
    """Entropy in bits of each row of counts."""
    shares = counts / counts.sum(1, keepdim=True)
    terms: Tensor = torch.special.entr(shares)
    return terms.sum(1) / math.log(2)
