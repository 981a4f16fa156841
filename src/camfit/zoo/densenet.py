"""DenseNet: Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", CVPR 2017, table 1.

Every layer of a block reads the concatenation of all before it. DenseNet-121 has 7,978,856 weights for 3 channels and
1,000 classes; 2.8e9 multiply-accumulates at 224x224. The paths are torchvision's, so that weights for it load. How to
train it here is ResNet-20's recipe, not tuned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.1, augment="shift")

GROWTH = 32  # channels that each layer adds
BLOCKS = (6, 12, 24, 16)
BOTTLENECK = 4  # times the growth


class DenseLayer(nn.Module):
    """[N, inputs, H, W] to [N, growth, H, W] through a bottleneck."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        result: Tensor = self.conv2(self.relu2(self.norm2(y)))
        return result


class DenseBlock(nn.Module):
    """[N, inputs, H, W] to [N, inputs + layers * growth, H, W]."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"denselayer{number + 1}", DenseLayer(inputs + number * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.children():
            parts.append(layer(torch.cat(parts, dim=1)))
        return torch.cat(parts, dim=1)


class Transition(nn.Module):
    """[N, inputs, H, W] to [N, inputs / 2, H / stride, W / stride]."""

    def __init__(self, inputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pool(self.conv(self.relu(self.norm(x))))
        return result


class DenseNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, growth: int, blocks: Sequence[int]) -> None:
        super().__init__()
        first, pool, *rest = strides(input_shape, 1 + len(blocks))
        channels = 2 * growth
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(input_shape[0], channels, 7, first, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(channels))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, padding=1) if pool == 2 else nn.Identity())
        for number, layers in enumerate(blocks, 1):
            self.features.add_module(f"denseblock{number}", DenseBlock(channels, growth, layers))
            channels += layers * growth
            if number < len(blocks):
                self.features.add_module(f"transition{number}", Transition(channels, rest[number - 1]))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.pool(self.relu(self.features(x)))))
        return logits


def build(
    input_shape: tuple[int, int, int], classes: int, *, growth: int = GROWTH, blocks: Sequence[int] = BLOCKS
) -> DenseNet:
    """DenseNet-121 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    growth: channels that each layer adds. blocks: layers of each block; a halving lies between two of them.
    Raises ModelError for a growth below 1, no block or an empty one, and for a smaller input.
    """
    check("densenet121", input_shape, classes, least=LAST_MAP)
    if growth < 1 or not blocks or min(blocks) < 1:
        raise ModelError(f"densenet121: growth {growth}, blocks {list(blocks)}; expected at least 1, and 1 in each")
    return he_initialised(DenseNet(input_shape, classes, growth, blocks))
