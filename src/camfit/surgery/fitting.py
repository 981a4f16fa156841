"""Whether what an edit brings fits the layer that it is for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camfit.errors import PlanError
from camfit.forms import Codebook, Form, Hashed, Integer, Masked, form_of


def check_form(form: Form, stored: Tensor, weight: Tensor) -> None:
    """Raises PlanError unless the form makes a finite weight of the right shape out of the stored tensor."""
    expected: tuple[int, ...] = tuple(weight.shape)
    if isinstance(form, Codebook):
        expected = (form.entries,)
    elif isinstance(form, Hashed):
        expected = (form.buckets,)
    if tuple(stored.shape) != expected:
        found = f"a stored tensor of shape {list(stored.shape)}"
        raise PlanError(f"form {form.name} with {found}, expected {list(expected)}")
    if isinstance(form, Masked) and form.mask.shape != weight.shape:
        raise PlanError(f"a mask of shape {list(form.mask.shape)}, expected the weight's {list(weight.shape)}")
    if isinstance(form, Integer) and form.scale.numel() != weight.shape[0]:
        raise PlanError(f"form integer with {form.scale.numel()} scales, expected {weight.shape[0]}")
    with torch.no_grad():
        made = form(stored)
    if made.shape != weight.shape:
        found = f"a weight of shape {list(made.shape)}"
        raise PlanError(f"form {form.name} makes {found}, expected {list(weight.shape)}")
    if not bool(made.isfinite().all()):
        raise PlanError("the new weight holds values that are not finite")


def keeps_mask(form: Form, by: nn.Module) -> bool:
    """True where the layer ``by`` has a mask of its own that revives nothing that the mask ``form`` holds."""
    new = form_of(by) if isinstance(form, Masked) and isinstance(by, nn.Conv2d | nn.Linear) else None
    if not isinstance(form, Masked) or not isinstance(new, Masked) or new.mask.shape != form.mask.shape:
        return False
    return not bool((new.mask & ~form.mask).any())


def widths(layer: nn.Module) -> tuple[int, ...]:
    """(input, output) channels of a layer that fixes them."""
    if isinstance(layer, nn.Conv2d):
        return (layer.in_channels, layer.out_channels)
    if isinstance(layer, nn.Linear):
        return (layer.in_features, layer.out_features)
    if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
        return (layer.num_features, layer.num_features)
    return ()
