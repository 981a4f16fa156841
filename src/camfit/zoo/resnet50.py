"""ResNet-50: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, table 1.

25,557,032 weights for 3 channels and 1,000 classes; 4.1e9 multiply-accumulates at 224x224 (the paper counts 3.8e9: its
bottlenecks halve in the first 1x1 convolution, these, as torchvision's, in the 3x3). The paths are torchvision's, so
that weights for it load. How to train it here is ResNet-20's recipe, not tuned.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, conv_bn, he_initialised
from camfit.zoo.resnet18 import ResNet
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.1, augment="shift")

DEPTHS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut: [N, inputs, H, W] to [N, 4 * width, H / stride, W / stride]."""

    EXPANSION = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.EXPANSION * width
        self.conv1, self.bn1 = conv_bn(inputs, width, 1)
        self.conv2, self.bn2 = conv_bn(width, width, 3, stride=stride)
        self.conv3, self.bn3 = conv_bn(width, outputs, 1)
        self.relu = nn.ReLU()
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


def build(input_shape: tuple[int, int, int], classes: int, *, width: int = 64) -> ResNet:
    """ResNet-50 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    width: channels of the first stage's bottlenecks. Raises ModelError if below 1, and for a smaller input.
    """
    check("resnet50", input_shape, classes, least=LAST_MAP)
    if width < 1:
        raise ModelError(f"resnet50: width {width}; expected at least 1")
    return he_initialised(ResNet(input_shape, classes, width, Bottleneck, DEPTHS))
