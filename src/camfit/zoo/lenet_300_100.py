"""LeNet-300-100: two hidden fully connected layers; 266,610 weights on 28x28 grey (LeCun et al. 1998)."""

from __future__ import annotations

from torch import Tensor, nn

from camfit.zoo.layers import check, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=30, learning_rate=0.05, weight_decay=2e-4)


class LeNet300(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(channels * height * width, 300)
        self.relu1 = nn.ReLU()
        self.dropout1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(300, 100)
        self.relu2 = nn.ReLU()
        self.dropout2 = nn.Dropout(dropout / 2)
        self.fc3 = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout1(self.relu1(self.fc1(self.flatten(x))))
        x = self.dropout2(self.relu2(self.fc2(x)))
        logits: Tensor = self.fc3(x)
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.3) -> LeNet300:
    """LeNet-300-100 for inputs (C, H, W) of any size; the second hidden layer has half the dropout."""
    check("lenet_300_100", input_shape, classes, least=1)
    return he_initialised(LeNet300(input_shape, classes, dropout))
