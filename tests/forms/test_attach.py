"""A layer takes a form on, changes it and loses it, and stays an ordinary layer throughout."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camfit.forms import Codebook, Form, Hashed, Integer, Masked, Sign, attach, form_of, stored_of
from camfit.layers import BinaryConv2d

FORMS: list[Form | None] = [
    None,
    Masked(torch.tensor([[True, False], [True, True]])),
    Codebook(torch.tensor([[0, 1], [-1, 0]]), 2),
    Hashed((2, 2), 2, 7),
    Sign(),
    Integer(torch.tensor([0.5, 1.0]), 3),
]


def stored_for(form: Form | None) -> torch.Tensor:
    return torch.tensor([0.5, -2.0]) if isinstance(form, Codebook | Hashed) else torch.tensor([[0.5, -2.0], [3.0, 4.0]])


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_the_weight_is_what_the_form_makes_of_the_stored_tensor(first: Form | None, second: Form | None) -> None:
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.bias)
    for form in (first, second):
        stored = stored_for(form)
        attach(layer, copy.deepcopy(form), stored)
        expected = stored if form is None else form(stored)
        assert torch.equal(layer.weight, expected)
        assert torch.equal(layer(torch.eye(2)), expected.T)
        assert torch.equal(stored_of(layer), stored)
        assert type(form_of(layer)) is type(form)
        # The stored tensor trains, and nothing else has joined bias and it.
        assert len(list(layer.parameters())) == 2 and stored_of(layer).requires_grad
    assert isinstance(layer, nn.Linear)


def test_the_stored_tensor_is_the_layers_own() -> None:
    layer, stored = nn.Linear(2, 2), torch.ones(2, 2)
    attach(layer, Sign(), stored)
    stored.zero_()
    assert bool((stored_of(layer) == 1).all())


def test_copies_do_not_share_forms() -> None:
    layer = nn.Linear(2, 2)
    attach(layer, Masked(torch.ones(2, 2)), torch.ones(2, 2))
    copied = copy.deepcopy(layer)
    attach(copied, None, torch.zeros(2, 2))
    assert form_of(copied) is None and isinstance(form_of(layer), Masked)
    assert bool((layer.weight == 1).all()) and bool((copied.weight == 0).all())


def test_a_binary_layer_stays_one_under_its_form() -> None:
    layer = BinaryConv2d(1, 1, (1, 1))
    for _ in range(2):
        attach(layer, Sign(), torch.ones(1, 1, 1, 1))
        assert isinstance(layer, BinaryConv2d) and isinstance(form_of(layer), Sign)
