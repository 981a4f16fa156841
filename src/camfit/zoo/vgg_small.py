"""VGG-small, the reference of binarization: 2x128C3 - MP2 - 2x256C3 - MP2 - 2x512C3 - MP2 - 2x1024FC - 10.

Courbariaux, Bengio, David, "BinaryConnect", NIPS 2015, section 3.3, with a soft-max in place of the L2-SVM and batch
norm after every layer but the last. 14,022,016 weights in convolutions and fully connected layers on 32x32 RGB.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import check, conv_bn, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.05, augment="shift")


class VGGSmall(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        inputs, height, columns = input_shape
        layers: list[nn.Module] = []
        for outputs in (width, 2 * width, 4 * width):
            layers += [*conv_bn(inputs, outputs, 3), nn.ReLU()]
            layers += [*conv_bn(outputs, outputs, 3), nn.ReLU(), nn.MaxPool2d(2)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.flatten = nn.Flatten()
        hidden = 8 * width
        self.classifier = nn.Sequential(
            nn.Linear(inputs * (height // 8) * (columns // 8), hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.features(x)))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: int = 128) -> VGGSmall:
    """VGG-small for inputs (C, H, W) from 8x8 on. width: channels of the first stage. Raises ModelError if below 1."""
    check("vgg_small", input_shape, classes, least=8)
    if width < 1:
        raise ModelError(f"vgg_small: width {width}; expected at least 1")
    return he_initialised(VGGSmall(input_shape, classes, width))
