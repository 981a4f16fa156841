"""Optimal brain damage. LeCun, Denker, Solla, Optimal Brain Damage, NIPS 1990 (PR1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from camfit.errors import PlanError, RecipeError
from camfit.forms import Masked, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.curvature import gauss_newton_diagonal, hessian_diagonal
from camfit.methods.pruning.share_weights import kept_of, prunable_layers, tally
from camfit.methods.pruning.weight_budget import WeightBudget, shared_masks
from camfit.network import Network
from camfit.plan import Constrain, Plan

# Weights up to which the exact Hessian's diagonal is taken: one more backward pass for each, and each batch of images.
EXACT = 10_000


@dataclass(frozen=True)
class OptimalBrainDamage(WeightBudget):
    """Prunes the weights of the least saliency ½·h_kk·w_k², the loss that the deletion of one alone adds.

    h_kk is the second derivative of the mean cross-entropy over the calibration images. The paper's back-propagation
    drops the term in f'' (its Levenberg-Marquardt approximation) and the coupling of hidden units; ``gauss-newton``
    drops the same term and keeps the coupling. On networks of ReLUs it equals ``exact`` (see
    :mod:`camfit.methods.curvature`). Saliencies are losses, so layers may be compared. One plan is one round; the paper
    retrains between rounds.

    Attributes:
        derivatives: ``gauss-newton`` or ``exact``, the latter for at most 10,000 weights.
        samples: classes drawn for each image in ``gauss-newton``; 0 takes every class exactly (100 draws where an image
            has more than 100 outputs).
    """

    NAME: ClassVar[str] = "optimal-brain-damage"

    sparsity: float | None = 0.5
    derivatives: Literal["gauss-newton", "exact"] = "gauss-newton"
    samples: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.derivatives not in ("gauss-newton", "exact"):
            raise RecipeError(
                f"optimal-brain-damage: derivatives is {self.derivatives!r}, expected 'gauss-newton' or 'exact'"
            )
        if self.samples < 0:
            raise RecipeError(f"optimal-brain-damage: samples is {self.samples}, expected 0 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Masks for every weighted layer.

        Raises:
            PlanError: a weight lives in a form that holds no zeros, or ``exact`` on more than 10,000 weights.
        """
        layers = prunable_layers(network, "optimal-brain-damage", self.keep, self.skip)
        alive = {path: weight_of(layer).detach() != 0 for path, layer in layers.items()}
        scores = self.saliencies(network, calibration)
        masks, curves = shared_masks(self, network, calibration, scores, alive)
        notes = tally(alive, masks)
        lost = 0.0
        for path, score in scores.items():
            notes[path]["loss added"] = added = float(score[alive[path] & ~masks[path]].double().sum())
            lost += added
        how = f"{self.derivatives}, {len(calibration.inputs)} images"
        return Plan(
            "optimal-brain-damage",
            tuple(Constrain(path, Masked(mask)) for path, mask in masks.items()),
            f"{kept_of(notes)} by ½·h·w² ({how}), which foresees {lost:.3g} more loss",
            notes,
            curves,
        )

    def saliencies(self, network: Network, calibration: Calibration) -> dict[str, Tensor]:
        """½·h_kk·w_k² of every layer that is not skipped, the weight's shape; where h_kk is negative, 0."""
        layers = prunable_layers(network, "optimal-brain-damage", self.keep, self.skip)
        weights = {path: weight_of(layer).detach() for path, layer in layers.items()}
        if self.derivatives == "exact":
            count = sum(weight.numel() for weight in weights.values())
            if count > EXACT:
                raise PlanError(
                    f"optimal-brain-damage: derivatives 'exact' on {count:,} weights, expected at most {EXACT:,}; "
                    "'gauss-newton' has no such limit"
                )
            curvature = hessian_diagonal(network, calibration.inputs, calibration.targets, layers)
        else:
            curvature = gauss_newton_diagonal(network, calibration.inputs, layers, self.samples, calibration.seed)
        return {path: 0.5 * curvature[path].clamp(min=0) * weight**2 for path, weight in weights.items()}


ENTRY = Entry(
    row="PR1",
    name="optimal-brain-damage",
    family="pruning",
    paper="LeCun, Denker, Solla: Optimal Brain Damage. Advances in Neural Information Processing Systems 2, 1990.",
    options=OptimalBrainDamage,
)
