"""VGG-16: Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
table 1, column D.

138,357,544 weights for 3x224x224 pixels and 1,000 classes, of which the classifier holds 124 million; 15.5e9
multiply-accumulates. The paths are torchvision's, so that weights for it load. How to train it here is the usual
choice, not tuned: without batch norm it needs a low learning rate.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=40, learning_rate=0.01)

# Channels and number of the 3x3 convolutions before each of the five pools.
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
HIDDEN = 4096
MAP = 7  # height and width that the classifier was made for


class VGG16(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()
        inputs, *size = input_shape
        layers: list[nn.Module] = []
        for (channels, count), stride in zip(STAGES, strides(input_shape, len(STAGES)), strict=True):
            outputs = max(1, int(width * channels))
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2) if stride == 2 else nn.Identity())
            size = [side // stride for side in size]
        self.features = nn.Sequential(*layers)
        rest = (MAP if size[0] % MAP == 0 else size[0], MAP if size[1] % MAP == 0 else size[1])
        self.avgpool = nn.AdaptiveAvgPool2d(rest)
        self.flatten = nn.Flatten()
        hidden = max(1, int(width * HIDDEN))
        self.classifier = nn.Sequential(
            nn.Linear(inputs * rest[0] * rest[1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, dropout: float = 0.5) -> VGG16:
    """VGG-16 for inputs (C, H, W) from 3x3 on; all five pools from 96x96 on, below that the last few.

    The pools leave 7x7 of 224x224 pixels. A rest that 7 divides is averaged to 7; any other goes to the classifier as
    it is. width: multiplier of all hidden channels. Raises ModelError unless it is above 0, and for a smaller input.
    """
    check("vgg16", input_shape, classes, least=LAST_MAP)
    if not 0 < width <= 4:
        raise ModelError(f"vgg16: width {width}; expected a multiplier above 0, at most 4")
    return he_initialised(VGG16(input_shape, classes, width, dropout))
