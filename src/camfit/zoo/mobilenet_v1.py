"""MobileNet v1: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision", 2017.

Depth-wise separable convolutions; 4,231,976 weights at width 1 and 470,072 at width 0.25 (3 channels, 1,000 classes).
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, conv_bn, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.05, weight_decay=1e-4, augment="shift")

# Channels at width 1, and stride, of the 13 separable convolutions, after a convolution of 32 channels and stride 2.
SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


class MobileNetV1(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float) -> None:
        super().__init__()
        halvings = iter(strides(input_shape, 5))
        inputs = _scaled(32, width)
        layers = [*conv_bn(input_shape[0], inputs, 3, stride=next(halvings)), nn.ReLU6()]
        for channels, paper_stride in SEPARABLE:
            stride = next(halvings) if paper_stride == 2 else 1
            outputs = _scaled(channels, width)
            layers += [*conv_bn(inputs, inputs, 3, stride=stride, groups=inputs), nn.ReLU6()]
            layers += [*conv_bn(inputs, outputs, 1), nn.ReLU6()]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.flatten(self.pool(self.features(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0) -> MobileNetV1:
    """MobileNet v1 for inputs (C, H, W) from 3x3 on; all five halvings from 96x96 on.

    width: the paper's multiplier alpha of all channels but the input's. Raises ModelError unless it is above 0, and for
    a smaller input.
    """
    check("mobilenet_v1", input_shape, classes, least=LAST_MAP)
    if not 0 < width <= 4:
        raise ModelError(f"mobilenet_v1: width {width}; expected a multiplier above 0, at most 4")
    return he_initialised(MobileNetV1(input_shape, classes, width))


def build_quarter(input_shape: tuple[int, int, int], classes: int) -> MobileNetV1:
    """MobileNet v1 at width 0.25."""
    return build(input_shape, classes, width=0.25)


def _scaled(channels: int, width: float) -> int:
    return max(1, int(channels * width))
