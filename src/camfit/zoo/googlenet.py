"""GoogLeNet: Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1, without the two auxiliary heads.

Inception modules of four branches, with batch norm behind every convolution. 6,624,904 weights for 3 channels and 1,000
classes; 1.5e9 multiply-accumulates at 224x224. The paths are torchvision's, so that weights for it load once its heads
`aux1` and `aux2` are dropped; as there, the third branch has 3x3 kernels where the paper has 5x5. How to train it here
is ResNet-20's recipe, not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.1, augment="shift")

# Channels of an inception module: 1x1; reduction and 3x3; reduction and the other 3x3; behind the pool.
MODULES: Mapping[str, tuple[int, int, int, int, int, int]] = MappingProxyType(
    {
        "3a": (64, 96, 128, 16, 32, 32),
        "3b": (128, 128, 192, 32, 96, 64),
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
        "5a": (256, 160, 320, 32, 128, 128),
        "5b": (384, 192, 384, 48, 128, 128),
    }
)


class BasicConv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.bn(self.conv(x)))
        return result


class Inception(nn.Module):
    """[N, inputs, H, W] to the concatenation of four branches of the same size; channels as in MODULES."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = channels
        self.branch1 = BasicConv(inputs, one, 1)
        self.branch2 = nn.Sequential(BasicConv(inputs, reduce3, 1), BasicConv(reduce3, three, 3))
        self.branch3 = nn.Sequential(BasicConv(inputs, reduce5, 1), BasicConv(reduce5, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), BasicConv(inputs, pooled, 1))
        self.outputs = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class GoogLeNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, int(width * channels))

        first, *rest = strides(input_shape, 5)
        pools = [_pool(3, stride) for stride in rest[:3]] + [_pool(2, rest[3])]
        self.conv1 = BasicConv(input_shape[0], scaled(64), 7, first)
        self.maxpool1 = pools[0]
        self.conv2 = BasicConv(scaled(64), scaled(64), 1)
        self.conv3 = BasicConv(scaled(64), scaled(192), 3)
        self.maxpool2, self.maxpool3, self.maxpool4 = pools[1:]
        modules, inputs = [], scaled(192)
        for channels in MODULES.values():
            modules.append(Inception(inputs, tuple(map(scaled, channels))))
            inputs = modules[-1].outputs
        self.inception3a, self.inception3b, self.inception4a, self.inception4b, self.inception4c = modules[:5]
        self.inception4d, self.inception4e, self.inception5a, self.inception5b = modules[5:]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4e(self.inception4d(self.inception4c(self.inception4b(self.inception4a(x)))))
        x = self.inception5b(self.inception5a(self.maxpool4(x)))
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, dropout: float = 0.2) -> GoogLeNet:
    """GoogLeNet for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    width: multiplier of all hidden channels. Raises ModelError unless it is above 0, and for a smaller input.
    """
    check("googlenet", input_shape, classes, least=LAST_MAP)
    if not 0 < width <= 4:
        raise ModelError(f"googlenet: width {width}; expected a multiplier above 0, at most 4")
    return he_initialised(GoogLeNet(input_shape, classes, width, dropout))


def _pool(kernel: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(kernel, stride, ceil_mode=True) if stride == 2 else nn.Identity()
