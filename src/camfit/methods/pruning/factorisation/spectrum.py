"""Squared singular values of a matrix, and its best approximation of a rank (Eckart and Young 1936)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camfit.methods.pruning.factorisation.vbmf import vbmf_rank


@torch.no_grad()
def principal(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(squared singular values, left singular vectors as columns) of a float64 matrix, falling; one for each row."""
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return values.flip(0).clamp_min(0), vectors.flip(1).contiguous()


def kept(energies: Tensor) -> Tensor:
    """Fraction of the squared norm that rank r keeps, at place r [0 .. full rank]; all 1 where there is nothing."""
    total = energies.sum()
    if total == 0:
        return torch.ones(len(energies) + 1, dtype=torch.float64)
    # A running sum may end above the sum by its rounding; more than all cannot be kept.
    return torch.cat([torch.zeros(1, dtype=torch.float64), (energies.cumsum(0) / total).clamp(max=1)])


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of one matrix, from the eigenvalues of its smaller Gram matrix in float64.

    A 4096 x 9216 matrix is a matter of seconds so. Singular values below 1e-8 of the largest drown in rounding, which
    only matters to who divides by them; nothing here does.

    Attributes:
        matrix: [rows, columns], float64.
        energies: squared singular values, falling [min(rows, columns)].
        vectors: singular vectors of the smaller side, as columns, in the same order.
    """

    matrix: Tensor
    energies: Tensor
    vectors: Tensor

    @staticmethod
    @torch.no_grad()
    def of(matrix: Tensor) -> Spectrum:
        """The spectrum of a matrix of any precision."""
        matrix = matrix.detach().double().cpu()
        rows, columns = matrix.shape
        return Spectrum(matrix, *principal(matrix if rows <= columns else matrix.T))

    @property
    def kept(self) -> Tensor:
        """Fraction of the squared norm that rank r keeps, at place r [0 .. full rank]."""
        return kept(self.energies)

    def product(self, rank: int) -> tuple[Tensor, Tensor]:
        """(left [rows, rank], right [rank, columns]) whose product is the best approximation.

        Each component's norm is shared evenly: its column of ``left`` is as long as its row of ``right``, so that both
        factors learn alike.
        """
        basis = self.vectors[:, :rank]
        floor = 1e-24 * float(self.energies[0]) or 1.0  # components of no length are left alone
        scale = self.energies[:rank].clamp_min(floor) ** 0.25
        if self.matrix.shape[0] <= self.matrix.shape[1]:
            return basis * scale, basis.T @ self.matrix / scale[:, None]
        return self.matrix @ basis / scale, basis.T * scale[:, None]

    def vbmf(self) -> int:
        """The rank by variational Bayesian matrix factorisation, at least 1."""
        return max(1, vbmf_rank(self.energies, *self.matrix.shape))
