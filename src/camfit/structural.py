"""Layers without weights that join, pick and rearrange values, which torch has as functions only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """Elementwise sum of two tensors of one shape."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Concat(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)


class Slice(nn.Module):
    """Some neighbouring channels: ``first`` and the ``count - 1`` behind it."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self.first, self.count = first, count

    def forward(self, x: Tensor) -> Tensor:
        return x.narrow(1, self.first, self.count)

    def extra_repr(self) -> str:
        return f"first={self.first}, count={self.count}"


class DepthToSpace(nn.Module):
    """Channels [C, block height, block width] of a pixel become a block of pixels of C channels; then it is cropped.

    Behind a convolution it makes a transposed one. Shi et al., Real-Time Single Image and Video Super-Resolution Using
    an Efficient Sub-Pixel Convolutional Neural Network, CVPR 2016 (there without cropping).

    Args:
        block: (height, width); their product divides the channels.
        crop: pixels taken off at the top, left, bottom and right.
    """

    def __init__(self, block: tuple[int, int], crop: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.block, self.crop = block, crop

    def forward(self, x: Tensor) -> Tensor:
        (high, wide), (top, left, bottom, right) = self.block, self.crop
        count, channels, height, width = x.shape
        blocks = x.reshape(count, channels // (high * wide), high, wide, height, width)
        image = blocks.permute(0, 1, 4, 2, 5, 3).reshape(count, -1, height * high, width * wide)
        return image[:, :, top : height * high - bottom, left : width * wide - right]

    def extra_repr(self) -> str:
        return f"block={self.block}, crop={self.crop}"
