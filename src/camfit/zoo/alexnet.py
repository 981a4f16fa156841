"""AlexNet in one tower, as torchvision has it: 61,100,840 weights for 3x224x224 or 3x227x227 pixels, 1,000 classes.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, section 5, after Krizhevsky,
Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012. The paths are
torchvision's, so that weights for it load. How to train it here is the usual choice, not tuned.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import check, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.01)

LEAST = 63  # below it nothing is left for the last pool
MAP = 6  # height and width that the classifier was made for


class AlexNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()
        channels, height, columns = input_shape
        one, two, three, four, hidden = (max(1, int(width * count)) for count in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(channels, one, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(one, two, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(two, three, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(three, four, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(four, four, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        size = (min(MAP, left(height)), min(MAP, left(columns)))
        self.avgpool = nn.AdaptiveAvgPool2d(size)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(four * size[0] * size[1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, dropout: float = 0.5) -> AlexNet:
    """AlexNet for inputs (C, H, W) from 63x63 on.

    The convolutions leave 6x6 of 224x224 pixels. A smaller rest goes to the classifier as it is (and makes it smaller),
    a larger one is averaged to 6x6 where 6 divides it.

    width: multiplier of all hidden channels. Raises ModelError unless it is above 0, for a smaller input, and for one
    whose rest cannot be averaged evenly.
    """
    check("alexnet", input_shape, classes, least=LEAST)
    if not 0 < width <= 4:
        raise ModelError(f"alexnet: width {width}; expected a multiplier above 0, at most 4")
    rest = [left(size) for size in input_shape[1:]]
    if any(size > MAP and size % MAP for size in rest):
        raise ModelError(
            f"alexnet: of {input_shape[1]}x{input_shape[2]} pixels the convolutions leave {rest[0]}x{rest[1]}; "
            f"expected at most {MAP} or a multiple of it along each side, as of 224 or 227 pixels"
        )
    return he_initialised(AlexNet(input_shape, classes, width, dropout))


def left(size: int) -> int:
    """Pixels along a side that the convolutions and pools leave."""
    size = (size + 2 * 2 - 11) // 4 + 1
    for _ in range(3):
        size = (size - 3) // 2 + 1
    return size
