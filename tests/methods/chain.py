"""Networks of a few layers in a row, for cases that are computed by hand."""

from __future__ import annotations

import torch
from torch import nn

from camfit.method import Calibration
from camfit.network import INPUT, Network, Node
from camfit.plan import KeepChannels, Plan

CALIBRATION = Calibration(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))


def chain(input_shape: tuple[int, ...], **layers: nn.Module) -> Network:
    """The layers one after the other, in evaluation mode."""
    names = [INPUT, *layers]
    nodes = tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False))
    return Network(nodes, layers, input_shape).eval()


def linear(rows: list[list[float]]) -> nn.Linear:
    """A linear layer with these rows and no bias."""
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return layer


def conv(rows: list[list[float]]) -> nn.Conv2d:
    """A 1x1 convolution with these rows and no bias."""
    layer = nn.Conv2d(len(rows[0]), len(rows), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows)[:, :, None, None])
    return layer


def kept(plan: Plan) -> dict[str, tuple[int, ...]]:
    """By group, the channels that the plan keeps."""
    return {edit.group: edit.keep for edit in plan if isinstance(edit, KeepChannels)}
