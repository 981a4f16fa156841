from __future__ import annotations

import pytest
import torch

from camfit.errors import PlanError
from camfit.forms import Codebook, Form, Hashed, Integer, Masked, Sign

SCALE = torch.tensor([0.5, 2.0])
STORED = torch.tensor([[0.2, 0.25, -0.25, 9.0], [1.0, -1.0, -3.1, -99.0]])


def test_weights_are_rounded_halves_up_and_clamped() -> None:
    """3 bits reach ±3. Row 1 in halves: 0.4 0.5 −0.5 18; row 2 in twos: 0.5 −0.5 −1.55 −49.5."""
    form = Integer(SCALE, 3)
    assert form.integers(STORED).tolist() == [[0, 1, 0, 3], [1, 0, -2, -3]]
    assert form(STORED).tolist() == [[0, 0.5, 0, 1.5], [2, 0, -4, -6]]


def test_the_gradient_passes_but_where_the_integer_was_clamped() -> None:
    stored = STORED.clone().requires_grad_()
    Integer(SCALE, 3)(stored).backward(torch.full((2, 4), 7.0))
    assert stored.grad is not None and stored.grad.tolist() == [[7, 7, 7, 0], [7, 7, 7, 0]]


def test_after_a_step_weights_are_within_reach_of_a_gradient() -> None:
    stored = STORED.clone()
    form = Integer(SCALE, 3)
    before = form(stored)
    form.settle(stored)
    assert stored[:, 3].tolist() == [1.5, -6] and torch.equal(form(stored), before)
    assert torch.equal(stored[:, :3], STORED[:, :3])


def test_pruned_weights_are_zero_and_get_no_gradient() -> None:
    mask = torch.tensor([[True, False, True, True], [False, True, True, True]])
    stored = STORED.clone().requires_grad_()
    form = Integer(SCALE, 8, mask)
    weight = form(stored)
    assert weight[~mask].tolist() == [0, 0] and torch.equal(form.integers(STORED) == 0, ~mask | (weight == 0))
    weight.sum().backward()
    assert stored.grad is not None and torch.equal(stored.grad != 0, mask)
    zeros = form.zeros()
    assert zeros is not None and torch.equal(zeros, ~mask)
    assert Integer(SCALE).zeros() is None


def test_channels_are_kept_with_their_scales_and_mask() -> None:
    mask = torch.tensor([[True, False, True, True], [False, True, True, True]])
    whole = Integer(SCALE, 3, mask)(STORED)
    form, stored = Integer(SCALE, 3, mask).keep(STORED, 0, torch.tensor([1]))
    form, stored = form.keep(stored, 1, torch.tensor([0, 2]))
    assert torch.equal(form(stored), whole[1:, [0, 2]])


@pytest.mark.parametrize("masked", [False, True])
def test_it_follows_a_mask_and_a_mask_follows_it(masked: bool) -> None:
    mask = torch.tensor([[True, False, True, True], [True, True, False, True]])
    other = torch.tensor([[True, True, False, True], [True, True, True, True]])
    first = Integer(SCALE, 4, other if masked else None)
    expected = Integer(SCALE, 4)(STORED) * mask * (other if masked else 1)
    later, stored = first.after(Masked(mask), STORED)
    assert torch.equal(later(stored), expected)
    later, stored = Masked(mask).after(first, STORED)
    assert isinstance(later, Integer) and torch.equal(later(stored), expected)
    again, stored = Integer(2 * SCALE, 4).after(later, stored)
    assert torch.equal(again(stored) == 0, (Integer(2 * SCALE, 4)(STORED) == 0) | (expected == 0) | ~mask)


@pytest.mark.parametrize(
    ("earlier", "stored"),
    [
        (Codebook(torch.zeros(2, 4, dtype=torch.int64), 1), torch.ones(1)),
        (Hashed((2, 4), 2, 0), torch.ones(2)),
        (Sign(), STORED),
    ],
)
def test_it_neither_follows_nor_precedes_a_form_whose_values_it_would_move(earlier: Form, stored: torch.Tensor) -> None:
    form = Integer(SCALE)
    with pytest.raises(PlanError, match=f"form integer .* cannot follow form {earlier.name} .* rounding would move"):
        form.after(earlier, stored)
    for mask in (None, torch.ones(2, 4, dtype=torch.bool)):
        with pytest.raises(PlanError, match=f"form {earlier.name} .* cannot follow form integer"):
            earlier.after(Integer(SCALE, 8, mask), STORED)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_are_checked(bits: int) -> None:
    with pytest.raises(PlanError, match=f"integer weight of {bits} bits: expected 2 to 8"):
        Integer(SCALE, bits)


@pytest.mark.parametrize("scale", [torch.tensor([1.0, 0.0]), torch.tensor([torch.inf]), torch.ones(1, 2)])
def test_scales_are_checked(scale: torch.Tensor) -> None:
    with pytest.raises(PlanError, match="expected a vector of values above 0"):
        Integer(scale)
