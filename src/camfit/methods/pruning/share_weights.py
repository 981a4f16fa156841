"""One sparsity shared over layers, and the masks that follow: what is common to all that prune single weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from camfit.budget import global_rank
from camfit.errors import PlanError, RecipeError
from camfit.forms import form_of, stored_of, weight_of
from camfit.methods.selection import weighted_layers
from camfit.network import Network


def check_keep(method: str, keep: Mapping[str, float]) -> None:
    """Raises RecipeError where a fraction of a layer to keep is out of range."""
    for layer, share in keep.items():
        if not 0 < share <= 1:
            raise RecipeError(f"{method}: keep.{layer} is {share}, expected above 0 and at most 1")


def prunable_layers(network: Network, method: str, keep: Iterable[str], skip: tuple[str, ...]) -> dict[str, nn.Module]:
    """The weighted layers by path that are not skipped.

    Raises:
        RecipeError: an option names a layer that is not there.
        PlanError: nothing is left, or a weight lives in a form that holds no zeros; names the layer and the form.
    """
    layers = {path: layer for path, layer in weighted_layers(network, method, keep, skip).items() if path not in skip}
    if not layers:
        raise PlanError(f"{method}: no weights to prune: the network has no weighted layer that is not skipped")
    for path, layer in layers.items():
        form = form_of(layer)
        everything = torch.ones_like(weight_of(layer), dtype=torch.bool)
        if form is not None and form.pruned(everything, stored_of(layer)) is None:
            origin = form.origin or "an earlier edit"
            raise PlanError(
                f"{method}: layer {path!r}: its weight lives in form {form.name} ({origin}), which holds no zeros"
            )
    return layers


def share_weights(
    scores: Mapping[str, Tensor],
    alive: Mapping[str, Tensor],
    keep: Mapping[str, float],
    sparsity: float,
    allocation: Literal["uniform", "global"],
) -> dict[str, Tensor]:
    """A mask for every layer (True stays): the highest scores of those alive, and nothing that was pruned before.

    Args:
        scores: what each weight is worth, 0 or more; ``global`` compares them across layers.
        alive: False where a weight is pruned already.
        keep: fraction of a layer's weights (pruned ones included) to keep; such layers take no part in the sharing.
        sparsity: fraction of all other layers' weights that are to be zero, those pruned before included.
        allocation: ``uniform``: each layer has that sparsity; ``global``: the lowest scores go, wherever they are.

    Returns:
        masks; a layer with any weight alive keeps at least one.
    """
    counts = {path: max(1, round(share * scores[path].numel())) for path, share in keep.items() if path in scores}
    # What is pruned already ranks below everything else, so that it is gone before anything else goes.
    ranks = {path: torch.where(alive[path], score.detach().double(), -1.0).flatten() for path, score in scores.items()}
    shared = {path: rank for path, rank in ranks.items() if path not in counts}
    if allocation == "uniform":
        counts |= {path: max(1, round((1 - sparsity) * len(rank))) for path, rank in shared.items()}
    elif shared:
        limit = max(len(shared), round((1 - sparsity) * sum(len(rank) for rank in shared.values())))
        counts |= global_rank(shared, lambda kept: sum(kept.values()), limit)
    masks: dict[str, Tensor] = {}
    for path, rank in ranks.items():
        mask = torch.zeros(len(rank), dtype=torch.bool)
        mask[rank.sort(descending=True, stable=True).indices[: counts[path]]] = True
        masks[path] = mask.reshape(scores[path].shape) & alive[path]
    return masks


def tally(alive: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, dict[str, float | int | str]]:
    """Notes for the report by layer: weights, how many were there before, how many stay."""
    return {
        path: {"weights": mask.numel(), "before": int(alive[path].sum()), "kept": int(mask.sum())}
        for path, mask in masks.items()
    }


def kept_of(notes: Mapping[str, Mapping[str, float | int | str]]) -> str:
    """``keep 1,200 of 4,000 weights (30.0 %)``, from a tally."""
    total, kept = (sum(int(note[key]) for note in notes.values()) for key in ("weights", "kept"))
    return f"keep {kept:,} of {total:,} weights ({100 * kept / max(1, total):.1f} %)"
