"""LeNet-5 as Caffe has it: conv20-5x5, pool, conv50-5x5, pool, fc500, fc10; 431,080 weights on 28x28 grey.

LeCun et al., "Gradient-based learning applied to document recognition", 1998; Jia et al., "Caffe", 2014.
"""

from __future__ import annotations

from torch import Tensor, nn

from camfit.zoo.layers import check, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=14, learning_rate=0.05, augment="flip")


class LeNet5(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]. As in Caffe's, only the hidden fully connected layer has a ReLU."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = input_shape
        # 28x28 shrinks to 4x4; inputs too small for that are padded instead.
        padding = 0 if min(height, width) >= 16 else 2
        self.conv1 = nn.Conv2d(channels, 20, 5, padding=padding)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5, padding=padding)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(50 * _left(height, padding) * _left(width, padding), 500)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.conv1(x))
        x = self.pool2(self.conv2(x))
        x = self.dropout(self.relu(self.fc1(self.flatten(x))))
        logits: Tensor = self.fc2(x)
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.4) -> LeNet5:
    """LeNet-5 for inputs (C, H, W) from 4x4 on. Raises ModelError for a smaller one."""
    check("lenet5", input_shape, classes, least=4)
    model = he_initialised(LeNet5(input_shape, classes, dropout))
    for layer in (model.conv1, model.conv2):
        # He's factor of 2 makes up for a ReLU; these have none, and with it training diverges at useful rates.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return model


def _left(size: int, padding: int) -> int:
    """Pixels that two convolutions 5x5 and two halvings leave."""
    for _ in range(2):
        size = (size + 2 * padding - 4) // 2
    return size
