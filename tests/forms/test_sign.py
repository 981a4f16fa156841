from __future__ import annotations

import pytest
import torch

from camfit.errors import PlanError
from camfit.forms import Codebook, Hashed, Masked, Sign
from camfit.forms.sign import sign


def test_the_sign_of_zero_is_plus_one() -> None:
    assert sign(torch.tensor([-2.0, -0.0, 0.0, 1e-30, -1e-30, 3.0])).tolist() == [-1, 1, 1, 1, -1, 1]


def test_the_scale_is_the_mean_magnitude_of_each_filter() -> None:
    stored = torch.tensor([[0.5, -1.5, 0.0, 2.0], [-0.1, 0.1, 0.1, -0.5]])
    torch.testing.assert_close(Sign()(stored), torch.tensor([[1.0, -1, 1, 1], [-0.2, 0.2, 0.2, -0.2]]))
    kernels = stored.reshape(2, 1, 2, 2)
    torch.testing.assert_close(Sign()(kernels), Sign()(stored).reshape(2, 1, 2, 2))


def test_the_gradient_is_the_papers() -> None:
    """∂C/∂W = ∂C/∂W̃·(1/n + α·1_{|W| ≤ 1}): n = 4, α = 1, and 1.5 and 2 lie outside."""
    stored = torch.tensor([[0.5, -1.5, 0.0, 2.0]], requires_grad=True)
    Sign()(stored).backward(torch.tensor([[1.0, 2.0, -3.0, 4.0]]))
    assert stored.grad is not None
    torch.testing.assert_close(stored.grad, torch.tensor([[1.25, 2 * 0.25, -3 * 1.25, 4 * 0.25]]))


def test_the_border_of_the_gradient_is_inside() -> None:
    stored = torch.tensor([[1.0, -1.0]], requires_grad=True)
    Sign()(stored).backward(torch.ones(1, 2))
    assert stored.grad is not None and stored.grad.tolist() == [[1.5, 1.5]]


def test_latent_weights_are_clipped_in_place() -> None:
    stored = torch.nn.Parameter(torch.tensor([[0.5, -1.5, 0.0, 2.0]]))
    Sign().settle(stored)
    assert stored.tolist() == [[0.5, -1, 0, 1]]


def test_channels_are_kept_with_their_latent_weights() -> None:
    """α of what remains is another: 0.25 instead of (1 + 0.25)/2."""
    form, stored = Sign().keep(torch.tensor([[1.0, -0.25], [0.5, 0.5]]), 1, torch.tensor([1]))
    assert form(stored).tolist() == [[-0.25], [0.5]]


@pytest.mark.parametrize("earlier", [Masked(torch.ones(1, 2)), Codebook(torch.zeros(1, 2), 1), Hashed((1, 2), 1, 0)])
def test_it_replaces_no_other_form(earlier: Masked | Codebook | Hashed) -> None:
    with pytest.raises(PlanError, match=f"form sign .* cannot follow form {earlier.name}"):
        Sign().after(earlier, torch.ones(1, 2))
