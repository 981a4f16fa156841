"""A convolution as 1x1, a small core, 1x1: Tucker's decomposition of the weight over its two channel modes.

Kim, Park, Yoo, Choi, Yang, Shin, Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications, ICLR 2016. The start is the higher-order singular value decomposition, then the two bases are improved in
turn (De Lathauwer, De Moor, Vandewalle, On the Best Rank-1 and Rank-(R1, ..., RN) Approximation, 2000). With two modes
that is an eigenproblem a step, so no library is needed for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
)
from camfit.methods.pruning.factorisation.spectrum import kept, principal
from camfit.methods.pruning.factorisation.vbmf import vbmf_rank

_SWEEPS = 5


class Tucker(Decomposition):
    """``down`` (1x1), ``core`` (the kernel's size, stride, padding and dilation), ``up`` (1x1, the bias).

    Ranks are (channels before the core, channels behind it). The ladder spends what may be lost evenly on the two: each
    mode gets the least rank that loses at most half of it, and the sum bounds the loss of both together.

    Args:
        layer: a convolution of one group.
    """

    name = "tucker"
    parts = ("rank in", "rank out")

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer
        self.weight = weight_of(layer).detach().double().cpu()
        self.outputs, self.inputs, self.rows, self.columns = self.weight.shape
        self.kernel = self.rows * self.columns
        self.largest = (min(self.inputs, self.outputs * self.kernel), min(self.outputs, self.inputs * self.kernel))
        self.spectra = tuple(principal(_unfolded(self.weight, mode)) for mode in (1, 0))
        self.lost = tuple(
            [*(1 - kept(energies)[:rank]).tolist(), 0.0]
            for (energies, _), rank in zip(self.spectra, self.largest, strict=True)
        )
        self.ladder = tuple(sorted(self._rungs()))

    def _rungs(self) -> set[Ranks]:
        """Both modes' least ranks at every loss at which one of them changes."""
        levels = sorted({*self.lost[0][1:], *self.lost[1][1:]})
        return {(_least(self.lost[0], level), _least(self.lost[1], level)) for level in levels}

    def energy(self, ranks: Ranks) -> float:
        return max(0.0, 1 - float(self.lost[0][ranks[0]]) - float(self.lost[1][ranks[1]]))

    def costs(self, ranks: Ranks, pixels: Pixels) -> Costs:
        into, out = ranks
        down, core, up = into * self.inputs, into * out * self.kernel, out * self.outputs
        return Costs(down * pixels.inputs + (core + up) * pixels.outputs, down + core + up)

    @torch.no_grad()
    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        rank_in, rank_out = ranks
        into, out = self.spectra[0][1][:, :rank_in], self.spectra[1][1][:, :rank_out]
        for _ in range(_SWEEPS):
            narrowed = torch.einsum("oihw,oq->qihw", self.weight, out)
            into = principal(_unfolded(narrowed, 1))[1][:, :rank_in]
            narrowed = torch.einsum("oihw,ip->ophw", self.weight, into)
            out = principal(_unfolded(narrowed, 0))[1][:, :rank_out]
        core = torch.einsum("ophw,oq->qphw", narrowed, out)
        total = float(self.weight.square().sum())
        energy = float(core.square().sum()) / total if total else 1.0
        chain = (
            ("down", convolution(into.T[:, :, None, None], POINT, self.layer)),
            ("core", convolution(core, Window.of(self.layer), self.layer)),
            ("up", convolution(out[:, :, None, None], POINT, self.layer, self.layer.bias)),
        )
        return chain, energy

    def vbmf(self) -> Ranks:
        """Of the two unfoldings, as Kim et al. choose them."""
        (into, _), (out, _) = self.spectra
        return (
            max(1, vbmf_rank(into[: self.largest[0]], self.inputs, self.outputs * self.kernel)),
            max(1, vbmf_rank(out[: self.largest[1]], self.outputs, self.inputs * self.kernel)),
        )


def _unfolded(weight: Tensor, mode: int) -> Tensor:
    """The tensor as a matrix with a row for each place of one mode."""
    return weight.movedim(mode, 0).flatten(1)


def _least(lost: list[float], level: float) -> int:
    """The least rank, from 1, that loses no more than ``level``."""
    return next(rank for rank, loss in enumerate(lost) if rank > 0 and loss <= level)
