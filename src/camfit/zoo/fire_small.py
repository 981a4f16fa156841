"""A small net of SqueezeNet's Fire modules: squeeze by 1x1, expand by 1x1 and 3x3, concatenate.

After Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size", 2016; five
modules for images of about 32x32; 59,706 weights for 3 channels and 10 classes. The paper has no batch norm; without it
the narrow squeeze layers die at useful learning rates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import check, conv_bn, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=20, learning_rate=0.04, weight_decay=2e-4)


class Fire(nn.Module):
    """[N, inputs, H, W] to [N, 2 * expand, H, W] through `squeeze` channels."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.squeeze_bn = conv_bn(inputs, squeeze, 1)
        self.squeeze_relu = nn.ReLU()
        self.expand1x1, self.expand1x1_bn = conv_bn(squeeze, expand, 1)
        self.expand1x1_relu = nn.ReLU()
        self.expand3x3, self.expand3x3_bn = conv_bn(squeeze, expand, 3)
        self.expand3x3_relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_relu(self.squeeze_bn(self.squeeze(x)))
        one = self.expand1x1_relu(self.expand1x1_bn(self.expand1x1(x)))
        three = self.expand3x3_relu(self.expand3x3_bn(self.expand3x3(x)))
        return torch.cat([one, three], dim=1)


class FireSmall(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]: the classes are a 1x1 convolution under a global average."""

    def __init__(self, channels: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(channels, 2 * width, 3)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.fire2 = Fire(2 * width, width // 2, 2 * width)
        self.fire3 = Fire(4 * width, width // 2, 2 * width)
        self.pool3 = nn.MaxPool2d(2)
        self.fire4 = Fire(4 * width, width, 4 * width)
        self.fire5 = Fire(8 * width, width, 4 * width)
        self.fire6 = Fire(8 * width, 3 * width // 2, 6 * width)
        self.dropout = nn.Dropout(dropout)
        self.conv7 = nn.Conv2d(12 * width, classes, 1)
        self.pool7 = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.pool3(self.fire3(self.fire2(x)))
        x = self.fire6(self.fire5(self.fire4(x)))
        logits: Tensor = self.flatten(self.pool7(self.conv7(self.dropout(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: int = 16, dropout: float = 0.2) -> FireSmall:
    """Fire net for inputs (C, H, W) from 4x4 on.

    width: the squeeze channels of the fourth layer, from which all others follow. Raises ModelError unless it is even
    and positive, and for a smaller input.
    """
    check("fire_small", input_shape, classes, least=4)
    if width < 2 or width % 2:
        raise ModelError(f"fire_small: width {width}; expected an even number from 2 on")
    return he_initialised(FireSmall(input_shape[0], classes, width, dropout))
