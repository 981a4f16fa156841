"""What every form of a weight has in common.

A form says how a layer's weight lives: as itself under a mask, as indices into a codebook, as hashed buckets, as signs.
It is a ``torch`` parametrization: the layer stays an ordinary ``nn.Conv2d`` or ``nn.Linear`` whose ``weight`` is
computed from a
*stored* tensor (the dense latent weight, the centroids, the buckets), and gradients reach the stored tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from camfit.errors import PlanError


class Form(nn.Module, ABC):
    """One way for a weight to live. Persistent buffers are its arrays; ``settings`` are its scalars.

    ``origin`` names the method that put it there, for error messages.
    """

    name: ClassVar[str]
    origin: str = ""

    @abstractmethod
    def forward(self, stored: Tensor) -> Tensor:
        """The weight, computed from the stored tensor; differentiable (straight-through where the form rounds)."""

    @abstractmethod
    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        """The form and stored tensor that remain when only ``index`` of weight dimension ``dim`` is kept.

        Raises:
            PlanError: this form cannot lose channels.
        """

    @abstractmethod
    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        """This form and its stored tensor, put on a weight that lives in ``earlier`` (None: dense).

        Raises:
            PlanError: the two do not go together; names both.
        """

    def zeros(self) -> Tensor | None:
        """Bool, the weight's shape: entries that are zero and not stored. None for a form that stores every entry."""
        return None

    def pruned(self, mask: Tensor, stored: Tensor) -> tuple[Form, Tensor] | None:
        """Form and stored tensor without the entries where ``mask`` is False; None where it can hold no zeros."""
        return None

    def settle(self, stored: Tensor) -> None:
        """Called after every optimiser step; keeps the stored tensor where the form wants it, in place."""
        return

    def settings(self) -> dict[str, int | float | str]:
        """The scalars that, with the persistent buffers, rebuild this form."""
        return {}

    def refuse(self, earlier: Form, why: str) -> PlanError:
        """The error for a form that cannot follow ``earlier``."""
        return PlanError(
            f"form {self.name} ({self.origin or 'this edit'}) cannot follow form {earlier.name} "
            f"({earlier.origin or 'an earlier edit'}): {why}"
        )


def form_of(layer: nn.Module) -> Form | None:
    """The form of the layer's weight, or None where it is dense."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    form = layer.parametrizations["weight"][0]  # type: ignore[index]
    assert isinstance(form, Form)
    return form


def weight_of(layer: nn.Module) -> Tensor:
    """The layer's weight, computed by its form where it has one."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def stored_of(layer: nn.Module) -> Tensor:
    """The trainable tensor from which the layer's weight is computed (the weight itself where it is dense)."""
    stored = layer.parametrizations.weight.original if form_of(layer) is not None else layer.weight  # type: ignore[union-attr]
    assert isinstance(stored, Tensor)
    return stored


def attach(layer: nn.Module, form: Form | None, stored: Tensor) -> None:
    """Makes the layer's weight live in ``form`` over ``stored``, replacing whatever form it had (None: dense)."""
    value = stored.detach().clone()
    if parametrize.is_parametrized(layer, "weight"):
        # Not remove_parametrizations: it deletes the property from the layer's class, which the layer's deep copies
        # share.
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
    layer.weight = nn.Parameter(value)
    if form is not None:
        parametrize.register_parametrization(layer, "weight", form, unsafe=True)
