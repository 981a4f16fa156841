"""A linear layer, or a 1x1 convolution, as two: the truncated singular value decomposition of its weight.

Denton, Zaremba, Bruna, LeCun, Fergus, Exploiting Linear Structure Within Convolutional Networks, NIPS 2014.
"""

from __future__ import annotations

from torch import nn

from camfit.forms import weight_of
from camfit.methods.pruning.factorisation.decomposition import (
    POINT,
    Costs,
    Decomposition,
    Factors,
    Pixels,
    Ranks,
    Window,
    convolution,
    linear,
)
from camfit.methods.pruning.factorisation.spectrum import Spectrum


class Svd(Decomposition):
    """``down`` (to rank channels, with the stride) and ``up`` (with the bias); no approximation of that rank is nearer.

    Args:
        layer: linear, or a convolution with a kernel of one pixel and one group.
    """

    name = "svd"
    parts = ("rank",)

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self.layer = layer
        self.spectrum = Spectrum.of(weight_of(layer).flatten(1))
        self.kept = self.spectrum.kept.tolist()
        self.largest = (len(self.spectrum.energies),)
        self.ladder = tuple((rank,) for rank in range(1, self.largest[0] + 1))

    def energy(self, ranks: Ranks) -> float:
        return float(self.kept[ranks[0]])

    def costs(self, ranks: Ranks, pixels: Pixels) -> Costs:
        weights = ranks[0] * sum(self.spectrum.matrix.shape)
        return Costs(weights * pixels.outputs, weights)

    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        up, down = self.spectrum.product(ranks[0])
        if isinstance(self.layer, nn.Linear):
            chain: Factors = (("down", linear(down, self.layer)), ("up", linear(up, self.layer, self.layer.bias)))
        else:
            first = convolution(down[:, :, None, None], Window.of(self.layer), self.layer)
            chain = (("down", first), ("up", convolution(up[:, :, None, None], POINT, self.layer, self.layer.bias)))
        return chain, self.energy(ranks)

    def vbmf(self) -> Ranks:
        return (self.spectrum.vbmf(),)
