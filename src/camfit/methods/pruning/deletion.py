"""Deletions of weights that keep a quadratic loss ½·δw'·H·δw least, given H⁻¹ (Hassibi, Stork 1993), for many blocks.

A block is a set of weights with an inverse Hessian of its own; everything here works on [blocks, size] weights and
[blocks, size, size] inverses, float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Elements of the inverses that are worked on together: they are to stay in the processor's cache.
_TOGETHER = 1 << 19


def first_inverse(blocks: int, size: int, alpha: float) -> Tensor:
    """The inverse of H₀ = α·I, once for each block: [blocks, size, size]."""
    return torch.eye(size, dtype=torch.float64).div(alpha).repeat(blocks, 1, 1)


def add_vectors(inverse: Tensor, vectors: Tensor) -> None:
    """Turns the inverses of H into those of H + Σ x x', in place.

    This is the paper's recursion H⁻¹ - H⁻¹x x'H⁻¹ / (1 + x'H⁻¹x), taken for all the vectors given at once.

    Args:
        inverse: [blocks, size, size].
        vectors: [blocks, count, size], the x of each block.
    """
    seen = vectors @ inverse
    inner = seen @ vectors.transpose(1, 2) + torch.eye(vectors.shape[1], dtype=inverse.dtype)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(inner), seen, upper=False)
    inverse.baddbmm_(half.transpose(1, 2), half, alpha=-1)


def deletion_losses(weights: Tensor, inverse: Tensor) -> Tensor:
    """Deletes every weight, always the one with the least L_q = w_q² / (2·[H⁻¹]_qq), and says what each cost.

    After each deletion the others are updated, δw = -(w_q / [H⁻¹]_qq)·H⁻¹e_q, and so is H⁻¹: it loses row and column q.

    Returns:
        [blocks, size]: L_q when the weight went, raised where needed to grow along the order of deletion. The lowest of
        all blocks together are then the weights that go first where blocks share one sequence.
    """
    size = weights.shape[1]
    step = max(1, _TOGETHER // (size * size))
    parts = zip(weights.split(step), inverse.split(step), strict=True)
    return torch.cat([_losses(part.clone(), their.clone()) for part, their in parts])


def _losses(weights: Tensor, inverse: Tensor) -> Tensor:
    """:func:`deletion_losses`; spends its arguments."""
    blocks, size = weights.shape
    rows = torch.arange(blocks)
    result = torch.zeros_like(weights)
    owner = torch.arange(size).repeat(blocks, 1)
    reached = weights.new_full((blocks,), -torch.inf)
    for left in range(size, 0, -1):
        live, h = weights[:, :left], inverse[:, :left, :left]
        diagonal = h.diagonal(dim1=1, dim2=2)
        loss, q = (live.square() / (2 * diagonal)).min(1)
        reached = torch.maximum(loss, torch.nextafter(reached, reached.new_tensor(torch.inf)))
        result[rows, owner[rows, q]] = reached
        column, pivot = h[rows, q], diagonal[rows, q]
        live -= column * (live[rows, q] / pivot)[:, None]
        h.baddbmm_(column[:, :, None], (column / pivot[:, None])[:, None, :], alpha=-1)
        # The last one takes the deleted one's place, so that what is left stays in front.
        last = left - 1
        live[rows, q] = live[:, last].clone()
        owner[rows, q] = owner[:, last].clone()
        h[rows, q] = h[:, last].clone()
        h[rows, :, q] = h[:, :, last].clone()
    return result


def delete(weights: Tensor, inverse: Tensor, gone: Tensor) -> tuple[Tensor, Tensor]:
    """Deletes a set of weights; the others take the values of the least loss.

    For a set G that is δw = -H⁻¹_·G·(H⁻¹_GG)⁻¹·w_G, where any order of single deletions of G ends, too.

    Args:
        weights: [blocks, size].
        inverse: [blocks, size, size].
        gone: bool [blocks, size].

    Returns:
        (new weights [blocks, size], exactly zero where gone; loss ½·w_G'·(H⁻¹_GG)⁻¹·w_G of each block).
    """
    step = max(1, _TOGETHER // weights.shape[1] ** 2)
    made: list[tuple[Tensor, Tensor]] = []
    for w, h, g in zip(weights.split(step), inverse.split(step), gone.split(step), strict=True):
        chosen = g.to(w.dtype)
        # The block of those that go, and the identity for all others, so that blocks of different sets go together.
        inner = h * chosen[:, :, None] * chosen[:, None, :] + torch.diag_embed(1 - chosen)
        target = (w * chosen)[:, :, None]
        factors = torch.cholesky_solve(target, torch.linalg.cholesky(inner))
        new = w - (h @ factors)[:, :, 0]
        made.append((new.masked_fill(g, 0), 0.5 * (target * factors).sum((1, 2))))
    return torch.cat([new for new, _ in made]), torch.cat([loss for _, loss in made])
