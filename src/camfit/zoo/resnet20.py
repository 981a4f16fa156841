"""ResNet-20 for small images: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, 4.2.

With option B shortcuts where the shape changes (1x1 convolution and batch norm): 272,474 weights for 3 channels and 10
classes. The paper's own option A (sub-sampling, zero channels) has 269,722; B is built because its layers can be cut,
packed and run like any other convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import check, conv_bn, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.1, augment="shift")


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut: [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(inputs, outputs, 3, stride=stride)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_bn(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride=stride))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        result: Tensor = self.relu2(y + self.shortcut(x))
        return result


class ResNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]: a convolution, three stages of blocks, global average, a layer."""

    def __init__(self, channels: int, classes: int, blocks: int, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(channels, width, 3)
        self.relu = nn.ReLU()
        self.stage1 = _stage(width, width, blocks, stride=1)
        self.stage2 = _stage(width, 2 * width, blocks, stride=2)
        self.stage3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: Tensor = self.fc(self.flatten(self.pool(x)))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, depth: int = 20, width: int = 16) -> ResNet:
    """ResNet for inputs (C, H, W) from 4x4 on.

    depth: 6n + 2 weighted layers (20, 32, 44, 56, 110), shortcuts not counted. width: channels of the first stage.
    Raises ModelError for another depth, a width below 1 or a smaller input.
    """
    check("resnet20", input_shape, classes, least=4)
    if depth < 8 or depth % 6 != 2 or width < 1:
        raise ModelError(f"resnet20: depth {depth}, width {width}; expected depth 6n + 2 (8, 14, ...) and width ≥ 1")
    return he_initialised(ResNet(input_shape[0], classes, (depth - 2) // 6, width))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
