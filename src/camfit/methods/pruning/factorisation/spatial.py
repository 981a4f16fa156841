"""A convolution as a column of weights, then a row: rows x 1, then 1 x columns, with rank channels between.

Jaderberg, Vedaldi, Zisserman, Speeding up Convolutional Neural Networks with Low Rank Expansions, BMVC 2014, scheme 2,
by filter reconstruction. Its optimum is a truncated singular value decomposition of the weight laid out as
[input channels · rows, output channels · columns] (Tai, Xiao, Zhang, Wang, E, Convolutional Neural Networks with
Low-rank Regularization, ICLR 2016), so nothing is left to iterate.
"""

from __future__ import annotations

from torch import nn

from camfit.forms import weight_of
from camfit.methods.pruning.factorisation.decomposition import (
    Costs,
    Decomposition,
    Factors,
    Pixels,
    Ranks,
    Window,
    convolution,
)
from camfit.methods.pruning.factorisation.spectrum import Spectrum


class Spatial(Decomposition):
    """``vertical`` (stride, padding and dilation of the rows), then ``horizontal`` (those of the columns, the bias).

    Args:
        layer: a convolution of one group.
    """

    name = "spatial"
    parts = ("rank",)

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer
        weight = weight_of(layer)
        self.outputs, self.inputs, self.rows, self.columns = weight.shape
        self.spectrum = Spectrum.of(weight.permute(1, 2, 0, 3).reshape(self.inputs * self.rows, -1))
        self.kept = self.spectrum.kept.tolist()
        self.largest = (len(self.spectrum.energies),)
        self.ladder = tuple((rank,) for rank in range(1, self.largest[0] + 1))

    def energy(self, ranks: Ranks) -> float:
        return float(self.kept[ranks[0]])

    def costs(self, ranks: Ranks, pixels: Pixels) -> Costs:
        vertical, horizontal = ranks[0] * self.inputs * self.rows, ranks[0] * self.outputs * self.columns
        return Costs(vertical * pixels.between + horizontal * pixels.outputs, vertical + horizontal)

    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        (rank,), window = ranks, Window.of(self.layer)
        left, right = self.spectrum.product(rank)
        vertical = left.T.reshape(rank, self.inputs, self.rows, 1)
        horizontal = right.reshape(rank, self.outputs, 1, self.columns).transpose(0, 1)
        chain = (
            ("vertical", convolution(vertical, window.rows(), self.layer)),
            ("horizontal", convolution(horizontal, window.columns(), self.layer, self.layer.bias)),
        )
        return chain, self.energy(ranks)

    def vbmf(self) -> Ranks:
        return (self.spectrum.vbmf(),)
