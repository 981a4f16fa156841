"""Pieces that several architectures share: initial weights, convolution with batch norm, input checks."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import nn

from camfit.errors import ModelError

M = TypeVar("M", bound=nn.Module)


def he_initialised(model: M) -> M:
    """Draw weights with variance 2 / fan-in, biases 0, batch norms the identity (He et al. 2015); returns the model."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def conv_bn(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, padded to keep the size at stride 1, and batch norm."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


LAST_MAP = 3  # least height and width before a global average


def strides(input_shape: tuple[int, int, int], halvings: int) -> list[int]:
    """1 or 2 for each place at which an architecture halves large images, in order.

    On small images the first halvings are left out, so that LAST_MAP pixels remain along the shorter side.
    """
    done = min(halvings, max(0, int(math.log2(min(input_shape[1:]) / LAST_MAP))))
    return [1] * (halvings - done) + [2] * done


def check(name: str, input_shape: tuple[int, int, int], classes: int, least: int) -> None:
    """Raise ModelError unless input_shape is (C, H, W) with H and W of at least `least` pixels, and classes ≥ 2."""
    if len(input_shape) != 3 or min(input_shape) < 1 or min(input_shape[1:]) < least:
        raise ModelError(
            f"{name}: input shape {tuple(input_shape)}; "
            f"expected (channels, height, width) of at least {least}x{least} pixels"
        )
    if classes < 2:
        raise ModelError(f"{name}: {classes} classes; expected at least 2")
