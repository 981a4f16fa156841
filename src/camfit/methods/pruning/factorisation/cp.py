"""A convolution as 1x1, a column and a row for each channel apart, 1x1: the canonical polyadic decomposition.

Lebedev, Ganin, Rakhuba, Oseledets, Lempitsky, Speeding-up Convolutional Neural Networks Using Fine-tuned
CP-Decomposition, ICLR 2015: W[o, i, y, x] = sum over r of U[o, r] · D[i, r] · V[y, r] · H[x, r]. They solve it by
non-linear least squares; here it is alternating least squares of our own, written so that three of the four modes share
one product with the tensor. (tensorly's took 1.1 to 8 times as long on three layers, for an energy within .012 of ours,
and is a dependency.)

Close fits may need components that grow without bound and cancel (Phan et al., Stable Low-rank Tensor Decomposition for
Compression of Convolutional Neural Network, ECCV 2020). The sweeps made here stay away from these; the ridge only keeps
the systems solvable.
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
from camfit.methods.pruning.factorisation.spectrum import principal
from camfit.methods.pruning.factorisation.vbmf import vbmf_rank

SWEEPS = 200
_RUNGS = 8
_RIDGE = 1e-8
_GAIN = 1e-3  # of what is still lost, in ten sweeps: less is not worth more of them


class Cp(Decomposition):
    """``down`` (1x1), ``vertical`` and ``horizontal`` (depth-wise), ``up`` (1x1, the bias).

    The rank is found by trying: the ladder has eight even steps up to the rank at which the factors have as many
    weights as the layer.

    Args:
        layer: a convolution of one group.
        seed: of the start's random components, beyond those that the channels' singular vectors give.
        sweeps: of alternating least squares, at most.
    """

    name = "cp"
    parts = ("rank",)

    def __init__(self, layer: nn.Conv2d, seed: int = 0, sweeps: int = SWEEPS) -> None:
        self.layer = layer
        self.weight = weight_of(layer).detach().double().cpu()
        self.outputs, self.inputs, self.rows, self.columns = self.weight.shape
        self.seed = seed
        self.sweeps = sweeps
        self.largest = (self.rows * self.columns * min(self.inputs, self.outputs),)
        most = self.weight.numel() // sum(self.weight.shape)
        steps = {max(1, most * step // _RUNGS) for step in range(1, _RUNGS + 1)}
        self.ladder = tuple((rank,) for rank in sorted(steps))
        self.found: dict[int, tuple[list[Tensor], float]] = {}

    def energy(self, ranks: Ranks) -> float:
        return self._fit(ranks[0])[1]

    def costs(self, ranks: Ranks, pixels: Pixels) -> Costs:
        (rank,) = ranks
        macs = self.inputs * pixels.inputs + self.rows * pixels.between + (self.columns + self.outputs) * pixels.outputs
        return Costs(rank * macs, rank * sum(self.weight.shape))

    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        (rank,), window = ranks, Window.of(self.layer)
        (up, down, vertical, horizontal), energy = self._fit(rank)
        chain = (
            ("down", convolution(down.T[:, :, None, None], POINT, self.layer)),
            ("vertical", convolution(vertical.T[:, None, :, None], window.rows(), self.layer, groups=rank)),
            ("horizontal", convolution(horizontal.T[:, None, None, :], window.columns(), self.layer, groups=rank)),
            ("up", convolution(up[:, :, None, None], POINT, self.layer, self.layer.bias)),
        )
        return chain, energy

    def vbmf(self) -> Ranks:
        """The larger rank of the two channel modes' unfoldings: no less can span both."""
        ranks = [
            vbmf_rank(principal(matrix)[0][: min(matrix.shape)], *matrix.shape)
            for matrix in (self.weight.flatten(1), self.weight.transpose(0, 1).flatten(1))
        ]
        return (max(1, *ranks),)

    @torch.no_grad()
    def _fit(self, rank: int) -> tuple[list[Tensor], float]:
        """Factors of outputs, inputs, rows and columns [size, rank], and the share of the squared norm they keep."""
        if rank not in self.found:
            self.found[rank] = alternate(self.weight, rank, self.seed, self.sweeps)
        return self.found[rank]


def alternate(weight: Tensor, rank: int, seed: int, sweeps: int = SWEEPS) -> tuple[list[Tensor], float]:
    """Factors [size, rank] of a tensor of four modes by alternating least squares, and the share of the norm they keep.

    The four parts of a component are equally long. Ten sweeps that gain next to nothing are the last.
    """
    total = float(weight.square().sum())
    if total == 0:
        return [torch.zeros(size, rank, dtype=weight.dtype) for size in weight.shape], 1.0
    factors = _start(weight, rank, seed)
    grams = [factor.T @ factor for factor in factors]
    before = 0.0
    for sweep in range(1, sweeps + 1):
        out = torch.einsum("oiyx,ir,yr,xr->or", weight, *factors[1:])
        factors[0], grams[0] = _solved(out, grams, 0)
        # The product with the outputs, shared by the three modes that follow: [inputs, rows, columns, rank].
        shared = torch.einsum("oiyx,or->iyxr", weight, factors[0])
        factors[1], grams[1] = _solved(torch.einsum("iyxr,yr,xr->ir", shared, *factors[2:]), grams, 1)
        kernels = torch.einsum("iyxr,ir->yxr", shared, factors[1])
        factors[2], grams[2] = _solved(torch.einsum("yxr,xr->yr", kernels, factors[3]), grams, 2)
        right = torch.einsum("yxr,yr->xr", kernels, factors[2])
        factors[3], grams[3] = _solved(right, grams, 3)
        if sweep % 10 == 0:
            inner = float((right * factors[3]).sum())
            made = float((grams[0] * grams[1] * grams[2] * grams[3]).sum())
            kept = 1 - (total - 2 * inner + made) / total
            if kept - before < _GAIN * (1 - kept):
                break
            before = kept
    lengths = [factor.norm(dim=0).clamp_min(1e-30) for factor in factors]
    even = (lengths[0] * lengths[1] * lengths[2] * lengths[3]) ** 0.25
    factors = [factor * (even / length) for factor, length in zip(factors, lengths, strict=True)]
    rest = weight - torch.einsum("or,ir,yr,xr->oiyx", *factors)
    return factors, 1 - float(rest.square().sum()) / total


def _start(weight: Tensor, rank: int, seed: int) -> list[Tensor]:
    """Each mode's singular vectors, then random directions, all of length 1."""
    generator = torch.Generator().manual_seed(seed)
    factors: list[Tensor] = []
    for mode, size in enumerate(weight.shape):
        factor = torch.randn(size, rank, generator=generator, dtype=torch.float64)
        if mode < 2:
            vectors = principal(weight.movedim(mode, 0).flatten(1))[1][:, :rank]
            factor[:, : vectors.shape[1]] = vectors
        factors.append(factor / factor.norm(dim=0).clamp_min(1e-30))
    return factors


def _solved(product: Tensor, grams: list[Tensor], mode: int) -> tuple[Tensor, Tensor]:
    """(the mode's factor, its Gram matrix) of least squares, given the tensor's product with the other modes' factors.

    The mode's columns come out with their components' whole length; the ridge is relative to the system's mean.
    """
    system = torch.ones_like(grams[0])
    for other, gram in enumerate(grams):
        if other != mode:
            system = system * gram
    ridge = _RIDGE * float(system.diagonal().mean())
    system = system + ridge * torch.eye(len(system), dtype=system.dtype)
    factor = torch.linalg.solve(system, product.T).T
    return factor, factor.T @ factor
