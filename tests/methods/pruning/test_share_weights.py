from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import PlanError, RecipeError
from camfit.forms import Hashed, Masked, attach
from camfit.methods.pruning.share_weights import kept_of, prunable_layers, share_weights, tally
from methods.chain import chain

SCORES = {"a": torch.tensor([[1.0, 8.0], [9.0, 2.0]]), "b": torch.tensor([[3.0, 0.5]])}
ALL = {"a": torch.ones(2, 2, dtype=torch.bool), "b": torch.ones(1, 2, dtype=torch.bool)}


def kept(masks: dict[str, Tensor]) -> dict[str, list[float]]:
    """The scores that stay."""
    return {path: SCORES[path][mask].tolist() for path, mask in masks.items()}


def test_uniform_takes_the_same_fraction_of_every_layer() -> None:
    assert kept(share_weights(SCORES, ALL, {}, 0.5, "uniform")) == {"a": [8, 9], "b": [3]}


def test_global_takes_the_lowest_wherever_they_are() -> None:
    assert kept(share_weights(SCORES, ALL, {}, 0.5, "global")) == {"a": [8, 9], "b": [3]}
    assert kept(share_weights(SCORES, ALL, {}, 1 / 3, "global")) == {"a": [8, 9, 2], "b": [3]}
    assert kept(share_weights(SCORES, ALL, {}, 1 / 6, "global")) == {"a": [1, 8, 9, 2], "b": [3]}


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_no_layer_is_emptied(allocation: Literal["uniform", "global"]) -> None:
    assert kept(share_weights(SCORES, ALL, {}, 0.999, allocation)) == {"a": [9], "b": [3]}


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_a_named_layer_keeps_its_fraction_and_takes_no_part(allocation: Literal["uniform", "global"]) -> None:
    assert kept(share_weights(SCORES, ALL, {"b": 1.0}, 0.5, allocation)) == {"a": [8, 9], "b": [3, 0.5]}
    assert kept(share_weights(SCORES, ALL, {"a": 0.25, "b": 0.5}, 0.0, allocation)) == {"a": [9], "b": [3]}


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.9])
def test_what_is_pruned_stays_so_and_counts(allocation: Literal["uniform", "global"], sparsity: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = {path: torch.rand(20, 10, generator=generator) for path in "ab"}
    alive = {path: torch.rand(20, 10, generator=generator) < 0.5 for path in "ab"}
    masks = share_weights(scores, alive, {}, sparsity, allocation)
    for path, mask in masks.items():
        assert not bool((mask & ~alive[path]).any())
    left = sum(int(mask.sum()) for mask in masks.values())
    assert left == min(sum(int(a.sum()) for a in alive.values()), round((1 - sparsity) * 400))


def test_a_layer_with_nothing_alive_is_no_obstacle() -> None:
    alive = {**ALL, "b": torch.zeros(1, 2, dtype=torch.bool)}
    assert kept(share_weights(SCORES, alive, {}, 0.5, "global")) == {"a": [8, 9], "b": []}


def test_a_tally_is_told_in_words() -> None:
    notes = tally(ALL, share_weights(SCORES, ALL, {}, 0.5, "uniform"))
    assert notes == {"a": {"weights": 4, "before": 4, "kept": 2}, "b": {"weights": 2, "before": 2, "kept": 1}}
    assert kept_of(notes) == "keep 3 of 6 weights (50.0 %)"


def test_layers_are_those_that_are_not_skipped() -> None:
    network = chain((4,), fc1=nn.Linear(4, 4), fc2=nn.Linear(4, 2))
    assert list(prunable_layers(network, "m", (), ("fc1",))) == ["fc2"]
    with pytest.raises(RecipeError, match="m: no layer 'fc3'"):
        prunable_layers(network, "m", ("fc3",), ())
    with pytest.raises(PlanError, match="m: no weights to prune"):
        prunable_layers(network, "m", (), ("fc1", "fc2"))


def test_a_form_that_holds_no_zeros_is_refused_by_name() -> None:
    network = chain((4,), fc1=nn.Linear(4, 4), fc2=nn.Linear(4, 2))
    attach(network.layer("fc1"), Masked(torch.ones(4, 4, dtype=torch.bool)), torch.randn(4, 4))
    form = Hashed((2, 4), 3, 0)
    form.origin = "hashednets"
    attach(network.layer("fc2"), form, torch.randn(3))
    with pytest.raises(PlanError, match=r"m: layer 'fc2': .* form hashed \(hashednets\), which holds no zeros"):
        prunable_layers(network, "m", (), ())
    assert list(prunable_layers(network, "m", (), ("fc2",))) == ["fc1"]
