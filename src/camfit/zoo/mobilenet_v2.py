"""MobileNet v2: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.

3,504,872 weights for 3 channels and 1,000 classes; 300e6 multiply-accumulates at 224x224. The paths are torchvision's,
so that weights for it load. How to train it here is MobileNet v1's recipe, not tuned.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, conv_bn, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.05, weight_decay=4e-5, augment="shift")

# Expansion, channels at width 1, blocks, and stride of the first block (table 2).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]: expand, filter each channel, project without ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(inputs, hidden, 1))
        layers.append(_conv_bn_relu6(hidden, hidden, 3, stride=stride, groups=hidden))
        self.conv = nn.Sequential(*layers, *conv_bn(hidden, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()
        halvings = iter(strides(input_shape, 5))
        inputs, last = _scaled(32, width), _scaled(1280, max(1.0, width))
        features: list[nn.Module] = [_conv_bn_relu6(input_shape[0], inputs, 3, stride=next(halvings))]
        for expansion, channels, blocks, paper_stride in STAGES:
            outputs = _scaled(channels, width)
            for block in range(blocks):
                stride = next(halvings) if block == 0 and paper_stride == 2 else 1
                features.append(InvertedResidual(inputs, outputs, stride, expansion))
                inputs = outputs
        features.append(_conv_bn_relu6(inputs, last, 1))
        self.features = nn.Sequential(*features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.pool(self.features(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, dropout: float = 0.2) -> MobileNetV2:
    """MobileNet v2 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on, below that the last few.

    width: the paper's multiplier; channels are rounded to multiples of 8, and the last convolution never narrows.
    Raises ModelError unless it is above 0, and for a smaller input.
    """
    check("mobilenet_v2", input_shape, classes, least=LAST_MAP)
    if not 0 < width <= 4:
        raise ModelError(f"mobilenet_v2: width {width}; expected a multiplier above 0, at most 4")
    return he_initialised(MobileNetV2(input_shape, classes, width, dropout))


def _conv_bn_relu6(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride=stride, groups=groups), nn.ReLU6())


def _scaled(channels: int, width: float) -> int:
    """The nearest multiple of 8, but not below 90 %."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
