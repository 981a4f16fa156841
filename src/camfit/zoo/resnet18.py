"""ResNet-18: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, table 1.

11,689,512 weights for 3 channels and 1,000 classes; 1.8e9 multiply-accumulates at 224x224. The paths are torchvision's,
so that weights for it load. How to train it here is ResNet-20's recipe, not tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, conv_bn, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.1, augment="shift")

DEPTHS = (2, 2, 2, 2)


class Block(Protocol):
    """A residual block: [N, inputs, H, W] to [N, EXPANSION * width, H / stride, W / stride]."""

    EXPANSION: int

    def __call__(self, inputs: int, width: int, stride: int) -> nn.Module:
        """The block of these sizes."""
        ...


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: [N, inputs, H, W] to [N, width, H / stride, W / stride]."""

    EXPANSION = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(inputs, width, 3, stride=stride)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = conv_bn(width, width, 3)
        same = stride == 1 and inputs == width
        self.downsample = None if same else nn.Sequential(*conv_bn(inputs, width, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


class ResNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]. depths: blocks in each of the four stages, which double the width."""

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, width: int, block: Block, depths: Sequence[int]
    ) -> None:
        super().__init__()
        first, pool, *rest = strides(input_shape, 5)
        self.conv1, self.bn1 = conv_bn(input_shape[0], width, 7, stride=first)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pool == 2 else nn.Identity()
        stages, inputs = [], width
        for number, (depth, stride) in enumerate(zip(depths, (1, *rest), strict=True)):
            stages.append(_stage(block, inputs, width << number, stride, depth))
            inputs = block.EXPANSION * (width << number)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: int = 64) -> ResNet:
    """ResNet-18 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    width: channels of the first stage. Raises ModelError if below 1, and for a smaller input.
    """
    check("resnet18", input_shape, classes, least=LAST_MAP)
    if width < 1:
        raise ModelError(f"resnet18: width {width}; expected at least 1")
    return he_initialised(ResNet(input_shape, classes, width, BasicBlock, DEPTHS))


def _stage(block: Block, inputs: int, width: int, stride: int, depth: int) -> nn.Sequential:
    first = block(inputs, width, stride)
    return nn.Sequential(first, *(block(block.EXPANSION * width, width, 1) for _ in range(depth - 1)))
