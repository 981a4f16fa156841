"""U-Net: Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015.

A path down of convolutions and pools, a path up of 2x2 transposed convolutions, and at each size the first concatenated
to the second. 31,030,658 weights at the paper's width of 64 and depth of 4, for 1 channel and 2 classes (without batch
norm, as there). Here convolutions keep the size, where the paper's crop, and width and depth are for small devices.
How to train it here is a guess, not tuned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.zoo.layers import LAST_MAP, check, he_initialised
from camfit.zoo.training import Training

TRAINING = Training(epochs=40, learning_rate=0.01, weight_decay=2e-4)

WIDTH, DEPTH = 16, 3


class Twice(nn.Sequential):
    """Two 3x3 convolutions with a ReLU behind each: [N, inputs, H, W] to [N, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
        )


class Up(nn.Module):
    """[N, 2 * channels, H / 2, W / 2] from below and [N, channels, H, W] from beside to [N, channels, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        # No activation follows, and a kernel as large as its stride reads each input channel once.
        nn.init.normal_(self.up.weight, std=(2 * channels) ** -0.5)
        assert self.up.bias is not None
        nn.init.zeros_(self.up.bias)
        self.twice = Twice(2 * channels, channels)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        result: Tensor = self.twice(torch.cat([beside, self.up(below)], dim=1))
        return result


class UNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes, H, W]."""

    def __init__(self, inputs: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(Twice(a, b) for a, b in zip([inputs, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(Up(channels) for channels in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        beside: list[Tensor] = []
        for number, down in enumerate(self.down):
            x = down(self.pool(x) if number else x)
            beside.append(x)
        beside.pop()
        for up in self.up:
            x = up(x, beside.pop())
        logits: Tensor = self.head(x)
        return logits


def build(input_shape: tuple[int, int, int], classes: int, *, width: int = WIDTH, depth: int = DEPTH) -> UNet:
    """A U-Net for inputs (C, H, W) whose sides 2 divides `depth` times.

    width: channels at full size, doubled at each halving. depth: halvings. Raises ModelError if width or depth is below
    1, and for sides that do not halve so often.
    """
    check("unet", input_shape, classes, least=LAST_MAP)
    if width < 1 or depth < 1:
        raise ModelError(f"unet: width {width}, depth {depth}; expected at least 1")
    if any(side % (1 << depth) for side in input_shape[1:]):
        raise ModelError(f"unet: {input_shape[1]}x{input_shape[2]} pixels; expected multiples of {1 << depth}")
    return he_initialised(UNet(input_shape[0], classes, width, depth))
