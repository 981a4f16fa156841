"""ShuffleNet v1: Zhang, Zhou, Lin, Sun, "ShuffleNet: an extremely efficient convolutional neural network for mobile
devices", CVPR 2018.

Grouped 1x1 convolutions with a channel shuffle between them. 3 groups, the paper's reference: 1,865,728 weights for 3
channels and 1,000 classes, 137e6 multiply-accumulates at 224x224. How to train it here is MobileNet v1's recipe, not
tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, conv_bn, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.05, weight_decay=4e-5, augment="shift")

STEM = 24
# Channels of the stages at width 1 by groups, so that all cost about the same (table 1), and blocks of each stage.
STAGES: Mapping[int, tuple[int, int, int]] = MappingProxyType(
    {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
)
BLOCKS = (4, 8, 4)


class Unit(nn.Module):
    """A bottleneck of `outputs` / 4 channels: [N, inputs, H, W] to [N, outputs, H / stride, W / stride].

    `first` of its stage, its shortcut is averaged and concatenated, else added. first_groups: of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, groups: int, first_groups: int, stride: int, first: bool) -> None:
        super().__init__()
        hidden = outputs // 4
        self.compress, self.compress_bn = conv_bn(inputs, hidden, 1, groups=first_groups)
        self.compress_relu = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise, self.depthwise_bn = conv_bn(hidden, hidden, 3, stride=stride, groups=hidden)
        self.expand, self.expand_bn = conv_bn(hidden, outputs - inputs if first else outputs, 1, groups=groups)
        self.shortcut = nn.AvgPool2d(3, stride, padding=1) if first else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.shuffle(self.compress_relu(self.compress_bn(self.compress(x))))
        y = self.expand_bn(self.expand(self.depthwise_bn(self.depthwise(y))))
        y = x + y if self.shortcut is None else torch.cat([self.shortcut(x), y], dim=1)
        result: Tensor = self.relu(y)
        return result


class ShuffleNetV1(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, groups: int, width: float) -> None:
        super().__init__()
        first, pool, *rest = strides(input_shape, 5)
        inputs = _scaled(STEM, width, groups)
        self.conv1, self.bn1 = conv_bn(input_shape[0], inputs, 3, stride=first)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pool == 2 else nn.Identity()
        stages = []
        for number, (channels, blocks, stride) in enumerate(zip(STAGES[groups], BLOCKS, rest, strict=True)):
            outputs = _scaled(channels, width, 4 * groups)
            # The paper does not group the very first: its input has few channels.
            units = [Unit(inputs, outputs, groups, groups if number else 1, stride, first=True)]
            units += [Unit(outputs, outputs, groups, groups, 1, first=False) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*units))
            inputs = outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.stage4(self.stage3(self.stage2(x)))
        logits: Tensor = self.fc(self.flatten(self.pool(x)))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, groups: int = 3, width: float = 1.0) -> ShuffleNetV1:
    """ShuffleNet v1 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    groups: of the 1x1 convolutions. width: the paper's multiplier s of all channels, rounded to what the groups divide.
    Raises ModelError for other groups than 1, 2, 3, 4 and 8, unless the width is above 0, and for a smaller input.
    """
    check("shufflenet_v1", input_shape, classes, least=LAST_MAP)
    if groups not in STAGES:
        raise ModelError(f"shufflenet_v1: {groups} groups; expected one of {', '.join(map(str, STAGES))}")
    if not 0 < width <= 4:
        raise ModelError(f"shufflenet_v1: width {width}; expected a multiplier above 0, at most 4")
    return he_initialised(ShuffleNetV1(input_shape, classes, groups, width))


def _scaled(channels: int, width: float, unit: int) -> int:
    return max(1, round(channels * width / unit)) * unit
