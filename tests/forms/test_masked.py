from __future__ import annotations

import pytest
import torch

from camfit.errors import PlanError
from camfit.forms import Codebook, Hashed, Masked, Sign

MASK = torch.tensor([[True, False, True], [False, True, True]])


def test_pruned_weights_are_zero_and_get_no_gradient() -> None:
    stored = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    weight = Masked(MASK)(stored)
    assert weight.tolist() == [[1, 0, 3], [0, 5, 6]]
    weight.backward(torch.full((2, 3), 7.0))
    assert stored.grad is not None and stored.grad.tolist() == [[7, 0, 7], [0, 7, 7]]


def test_channels_are_kept_with_their_mask() -> None:
    form, stored = Masked(MASK).keep(torch.arange(6.0).reshape(2, 3), 1, torch.tensor([1, 2]))
    assert form(stored).tolist() == [[0, 2], [4, 5]]


def test_two_masks_join() -> None:
    second = Masked(torch.tensor([[True, True, False], [True, True, True]]))
    second.origin = "second"
    form, stored = second.after(Masked(MASK), torch.ones(2, 3))
    assert form(stored).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert form.origin == "second"


def test_on_a_codebook_it_takes_indices_away() -> None:
    earlier = Codebook(torch.tensor([[0, 1, 1], [1, 0, -1]]), 2)
    form, stored = Masked(MASK).after(earlier, torch.tensor([5.0, 7.0]))
    assert isinstance(form, Codebook)
    assert form(stored).tolist() == [[5, 0, 7], [0, 5, 0]]
    assert earlier.index.tolist() == [[0, 1, 1], [1, 0, -1]]


@pytest.mark.parametrize("earlier", [Hashed((2, 3), 2, 0), Sign()])
def test_it_does_not_follow_a_form_without_zeros(earlier: Hashed | Sign) -> None:
    with pytest.raises(PlanError, match=f"form masked .* cannot follow form {earlier.name} .* no zeros to store"):
        Masked(MASK).after(earlier, torch.ones(2, 3))


def test_it_holds_a_mask_of_its_own() -> None:
    mask = MASK.clone()
    form = Masked(mask)
    mask[:] = False
    assert torch.equal(form.mask, MASK)
