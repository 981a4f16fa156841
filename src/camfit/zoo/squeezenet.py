"""SqueezeNet 1.0 and 1.1: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB
model size", 2016; 1.1 is the authors' own, from their repository.

1,248,424 and 1,235,496 weights for 3 channels and 1,000 classes. The paths are torchvision's, so that weights for it
load. There is no batch norm, and a ReLU behind the last convolution, so that no logit is below 0. How to train it here
is a guess, not tuned: without batch norm it needs a low learning rate. See fire_small for a net of Fire modules that
trains quickly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, he_initialised, strides
from camfit.zoo.training import Training

TRAINING = Training(epochs=40, learning_rate=0.01, weight_decay=2e-4)

# Channels of both expansions of fire2 to fire9.
EXPANSIONS = (64, 64, 128, 128, 192, 192, 256, 256)
SQUEEZE_RATIO = 0.125


class Fire(nn.Module):
    """[N, inputs, H, W] to [N, 2 * expand, H, W] through `squeeze` channels."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one = self.expand1x1_activation(self.expand1x1(x))
        three = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([one, three], dim=1)


class SqueezeNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]. pools: the Fire modules (fire2 is 0) before which a pool stands."""

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        stem: tuple[int, int],
        pools: Sequence[int],
        squeeze_ratio: float,
        dropout: float,
    ) -> None:
        super().__init__()
        inputs, kernel = stem
        first, *rest = strides(input_shape, 1 + len(pools))
        halvings = dict(zip(pools, rest, strict=True))
        # The convolution of the paper has no padding; where it does not halve, it keeps the few pixels there are.
        padding = 0 if first == 2 else kernel // 2
        layers: list[nn.Module] = [nn.Conv2d(input_shape[0], inputs, kernel, first, padding), nn.ReLU()]
        for number, expand in enumerate(EXPANSIONS):
            if number in halvings:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True) if halvings[number] == 2 else nn.Identity())
            layers.append(Fire(inputs, max(1, int(2 * expand * squeeze_ratio)), expand))
            inputs = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Conv2d(inputs, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.flatten(self.classifier(self.features(x)))
        return logits


def build_1_0(
    input_shape: tuple[int, int, int], classes: int, *, squeeze_ratio: float = SQUEEZE_RATIO, dropout: float = 0.5
) -> SqueezeNet:
    """SqueezeNet 1.0 for inputs (C, H, W) from 3x3 on; on images too small for four halvings the first are left out.

    squeeze_ratio: squeeze channels of a Fire module as a share of its outputs. Raises ModelError unless it is above 0
    and at most 1, and for a smaller input.
    """
    return _build("squeezenet_1_0", input_shape, classes, (96, 7), (0, 3, 7), squeeze_ratio, dropout)


def build_1_1(
    input_shape: tuple[int, int, int], classes: int, *, squeeze_ratio: float = SQUEEZE_RATIO, dropout: float = 0.5
) -> SqueezeNet:
    """SqueezeNet 1.1: a smaller first convolution and earlier pools, 2.4 times cheaper; otherwise as 1.0."""
    return _build("squeezenet_1_1", input_shape, classes, (64, 3), (0, 2, 4), squeeze_ratio, dropout)


def _build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    stem: tuple[int, int],
    pools: Sequence[int],
    squeeze_ratio: float,
    dropout: float,
) -> SqueezeNet:
    check(name, input_shape, classes, least=LAST_MAP)
    if not 0 < squeeze_ratio <= 1:
        raise ModelError(f"{name}: squeeze ratio {squeeze_ratio}; expected above 0, at most 1")
    return he_initialised(SqueezeNet(input_shape, classes, stem, pools, squeeze_ratio, dropout))
