"""A small CNN for 8x8 digits: three 3x3 convolutions and two fully connected layers; 22,954 weights on 8x8 grey."""

from __future__ import annotations

from torch import Tensor, nn

from camfit.zoo.layers import check, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=15, learning_rate=0.02, batch_size=64)


class DigitsCNN(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1)
        self.relu3 = nn.ReLU()
        self.pool3 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(32 * (height // 4) * (width // 4), 64)
        self.relu4 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.pool3(self.relu3(self.conv3(x)))
        x = self.dropout(self.relu4(self.fc1(self.flatten(x))))
        logits: Tensor = self.fc2(x)
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2) -> DigitsCNN:
    """The CNN for inputs (C, H, W) from 4x4 on. Raises ModelError for a smaller one."""
    check("digits_cnn", input_shape, classes, least=4)
    return he_initialised(DigitsCNN(input_shape, classes, dropout))
