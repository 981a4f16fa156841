"""Deletions against brute force: the constrained least loss of a quadratic, and every subset of its weights."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from camfit.methods.pruning.deletion import add_vectors, delete, deletion_losses, first_inverse

SIZE, BLOCKS = 6, 4


def problem(seed: int = 0, blocks: int = BLOCKS, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """(weights, Hessians) with strong coupling."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(blocks, size + 2, size, generator=generator, dtype=torch.float64)
    return torch.randn(blocks, size, generator=generator, dtype=torch.float64), factors.transpose(1, 2) @ factors


def least(weights: Tensor, hessian: Tensor, gone: list[int]) -> tuple[Tensor, float]:
    """(weights, loss) of the least ½·δ'Hδ with those in ``gone`` at zero, from the normal equations of the others."""
    kept = [place for place in range(len(weights)) if place not in gone]
    step = torch.zeros_like(weights)
    step[gone] = -weights[gone]
    step[kept] = -torch.linalg.solve(hessian[kept][:, kept], hessian[kept][:, gone] @ step[gone])
    return weights + step, float(0.5 * step @ hessian @ step)


def test_the_recursion_gives_the_inverse_of_the_sum_of_outer_products() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(BLOCKS, 9, SIZE, generator=generator, dtype=torch.float64)
    hessian = 1e-2 * torch.eye(SIZE, dtype=torch.float64) + vectors.transpose(1, 2) @ vectors
    inverse = first_inverse(BLOCKS, SIZE, 1e-2)
    for part in vectors.split(4, 1):
        add_vectors(inverse, part)
    torch.testing.assert_close(inverse, torch.linalg.inv(hessian), rtol=1e-9, atol=1e-9)


def test_several_vectors_at_once_are_the_papers_recursion_one_by_one() -> None:
    vectors = torch.randn(1, 5, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = first_inverse(1, SIZE, 1e-3)[0]
    for x in vectors[0]:
        seen = expected @ x
        expected = expected - torch.outer(seen, seen) / (1 + x @ seen)
    found = first_inverse(1, SIZE, 1e-3)
    add_vectors(found, vectors)
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-9)


def test_one_deletion_is_the_least_loss_of_all_weights() -> None:
    """The first to go is the one whose constrained optimum costs least; the loss said is that optimum's."""
    for seed in range(20):
        weights, hessian = problem(seed)
        losses = deletion_losses(weights, torch.linalg.inv(hessian))
        for w, h, found in zip(weights, hessian, losses, strict=True):
            brute = [least(w, h, [place])[1] for place in range(SIZE)]
            first = int(found.argmin())
            assert first == min(range(SIZE), key=brute.__getitem__)
            assert abs(float(found[first]) - brute[first]) < 1e-9


def test_deletions_go_on_from_the_updated_weights() -> None:
    """The whole sequence by brute force: at each step the next one whose constrained optimum adds the least loss."""
    for seed in range(10):
        weights, hessian = problem(seed, blocks=1)
        losses = deletion_losses(weights, torch.linalg.inv(hessian))[0]
        gone: list[int] = []
        before, reached = 0.0, 0.0
        for place in losses.argsort().tolist():
            costs = {q: least(weights[0], hessian[0], [*gone, q])[1] for q in range(SIZE) if q not in gone}
            assert place == min(costs, key=costs.__getitem__)
            reached = max(reached, costs[place] - before)
            assert abs(float(losses[place]) - reached) < 1e-9
            before = costs[place]
            gone.append(place)


def test_deleting_a_set_gives_the_least_loss_of_that_set() -> None:
    weights, hessian = problem()
    inverse = torch.linalg.inv(hessian)
    for gone in itertools.product((False, True), repeat=SIZE):
        mask = torch.tensor(gone).repeat(BLOCKS, 1)
        mask[0] = ~mask[0]  # blocks lose different numbers
        new, losses = delete(weights, inverse, mask)
        assert bool((new[mask] == 0).all())
        for block in range(BLOCKS):
            expected, loss = least(weights[block], hessian[block], mask[block].nonzero().flatten().tolist())
            torch.testing.assert_close(new[block], expected, rtol=1e-9, atol=1e-9)
            assert abs(float(losses[block]) - loss) < 1e-9


def test_where_weights_are_hardly_coupled_the_sequence_is_the_best_of_all_subsets() -> None:
    weights, hessian = problem(3, blocks=1)
    hessian = torch.diag_embed(hessian.diagonal(dim1=1, dim2=2)) + 0.05 * hessian
    order = deletion_losses(weights, torch.linalg.inv(hessian))[0].argsort().tolist()
    for count in range(1, SIZE):
        subsets = itertools.combinations(range(SIZE), count)
        best = min(subsets, key=lambda gone: least(weights[0], hessian[0], list(gone))[1])
        assert set(order[:count]) == set(best)


def test_a_weight_that_is_zero_goes_first_and_moves_nothing() -> None:
    weights, hessian = problem()
    weights[:, 2] = 0
    losses = deletion_losses(weights, torch.linalg.inv(hessian))
    assert losses.argmin(1).tolist() == [2] * BLOCKS
    mask = torch.zeros(BLOCKS, SIZE, dtype=torch.bool)
    mask[:, 2] = True
    torch.testing.assert_close(delete(weights, torch.linalg.inv(hessian), mask)[0], weights)


def test_many_blocks_together_are_the_same_as_each_alone() -> None:
    weights, hessian = problem(blocks=300, size=50)
    inverse = torch.linalg.inv(hessian)
    kept = inverse.clone()
    losses = deletion_losses(weights, inverse)
    assert torch.equal(inverse, kept), "it works on copies"
    alone = torch.cat([deletion_losses(w[None], h[None]) for w, h in zip(weights, inverse, strict=True)])
    torch.testing.assert_close(losses, alone, rtol=1e-6, atol=1e-9)
    assert bool((losses.sort(1).values.diff(dim=1) > 0).all()), "no two of a block are equal"
