from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from camfit.errors import PlanError
from camfit.forms import Codebook, Hashed, Masked


def grown(form: Codebook, centroids: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """(weight, gradient of the centroids) when ``upstream`` arrives at the weight."""
    stored = centroids.clone().requires_grad_()
    weight = form(stored)
    weight.backward(upstream)
    assert stored.grad is not None
    return weight.detach(), stored.grad


def test_a_centroids_gradient_is_the_sum_over_its_weights() -> None:
    form = Codebook(torch.tensor([[0, 1], [0, -1]]), 2)
    weight, gradient = grown(form, torch.tensor([5.0, 7.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert weight.tolist() == [[5, 7], [5, 0]]
    assert gradient.tolist() == [1 + 3, 2]


def test_a_centroid_that_nobody_uses_has_gradient_zero() -> None:
    assert grown(Codebook(torch.tensor([[2, 0]]), 3), torch.ones(3), torch.ones(1, 2))[1].tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_explicit_indexing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(-1, 6, (4, 3, 2, 2), generator=generator)
    images = torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64)
    centroids = torch.randn(6, generator=generator, dtype=torch.float64)
    ours, plain = centroids.clone().requires_grad_(), centroids.clone().requires_grad_()
    F.conv2d(images, Codebook(index, 6)(ours)).square().sum().backward()
    table = torch.cat([torch.zeros(1, dtype=torch.float64), plain])
    F.conv2d(images, table[index + 1]).square().sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_channels_are_kept_with_their_indices() -> None:
    index = torch.tensor([[0, 1, -1], [1, 0, 0]])
    form, stored = Codebook(index, 2).keep(torch.tensor([5.0, 7.0]), 1, torch.tensor([2, 0]))
    assert form(stored).tolist() == [[0, 5], [5, 7]]
    form, stored = form.keep(stored, 0, torch.tensor([1]))
    assert form(stored).tolist() == [[5, 7]]


def test_pruned_weights_cannot_come_back() -> None:
    zeros = Codebook(torch.tensor([[0, -1]]), 1)
    zeros.origin = "first"
    again = Codebook(torch.tensor([[0, 0]]), 1)
    again.origin = "second"
    for earlier in (zeros, Masked(torch.tensor([[True, False]]))):
        with pytest.raises(PlanError, match=r"codebook \(second\) cannot follow .* would revive 1 pruned weights"):
            again.after(earlier, torch.ones(1))
    assert Codebook(torch.tensor([[0, -1]]), 1).after(zeros, torch.ones(1))[0] is not zeros


def test_it_does_not_follow_a_hashed_weight() -> None:
    with pytest.raises(PlanError, match="form codebook .* cannot follow form hashed"):
        Codebook(torch.zeros(1, 2, dtype=torch.int64), 1).after(Hashed((1, 2), 1, 0), torch.ones(1))


@pytest.mark.parametrize(("index", "entries"), [(-2, 1), (1, 1), (0, 0), (0, 65537)])
def test_indices_and_size_are_checked(index: int, entries: int) -> None:
    with pytest.raises(PlanError, match=f"codebook of {entries} entries with indices {index} to {index}"):
        Codebook(torch.full((1, 2), index), entries)
    Codebook(torch.full((1, 2), 65535), 65536)
