"""PR9: Inf-FS by hand, and importance propagated backwards through each kind of layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.errors import PlanError, RecipeError
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.nisp import Nisp, infinite_feature_selection, propagated
from camfit.network import INPUT, Add, Concat, Network, Node
from methods.chain import chain, conv, kept

IMPORTANCE = torch.tensor([1.0, 2.0], dtype=torch.float64)


def of(network: Network, source: str, importance: torch.Tensor = IMPORTANCE) -> dict[str, list[float]]:
    found = propagated(network, Graph.of(network).groups, source, importance)
    return {name: values.tolist() for name, values in found.items()}


def test_importance_goes_backwards_by_absolute_weights() -> None:
    """s_a = |W_b|ᵀ s_b: (|1|·1 + |3|·2, |−2|·1 + |0.5|·2)."""
    network = chain((1, 1, 1), a=conv([[1.0], [1.0]]), b=conv([[1.0, -2.0], [-3.0, 0.5]]), head=conv([[1.0, 1.0]]))
    assert of(network, "b") == {"a": [7.0, 3.0], "b": [1.0, 2.0]}


def test_batch_norm_scales_and_activations_pass_on() -> None:
    norm = nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-3.0, 1.0]))
        norm.bias.fill_(5.0)
        assert norm.running_var is not None and norm.running_mean is not None
        norm.running_var.copy_(torch.tensor([4.0, 1.0]))
        norm.running_mean.fill_(7.0)
    network = chain(
        (1, 1, 1), a=conv([[1.0], [1.0]]), b=conv([[1.0, 0.0], [0.0, 1.0]]), norm=norm, relu=nn.ReLU(),
        c=conv([[1.0, 1.0], [0.0, 2.0]]), head=conv([[1.0, 1.0]]),
    )  # fmt: skip
    # c hands b's maps, behind norm and ReLU, (1, 1 + 4); the norm multiplies what goes further by |−3|/2 and 1.
    assert of(network, "c") == {"a": [1.5, 5.0], "b": [1.0, 5.0], "c": [1.0, 2.0]}


def test_pools_hand_on_to_every_neuron_they_look_at() -> None:
    for pool, share in ((nn.MaxPool2d(2), 1.0), (nn.AvgPool2d(2), 0.25)):
        network = chain((1, 2, 2), a=conv([[1.0], [1.0]]), pool=pool, head=conv([[1.0, 1.0]]))
        # Four neurons a channel, each with this share of the channel's one final response.
        assert of(network, "pool") == {"a": [4 * share, 8 * share]}


def test_sums_hand_all_to_both_and_concatenation_to_each_its_own() -> None:
    layers: dict[str, nn.Module] = {
        "a": conv([[1.0]]), "b": conv([[2.0]]), "add": Add(), "c": conv([[-3.0]]), "both": Concat(), "head": conv([[1.0, 1.0]])
    }  # fmt: skip
    nodes = (Node("a", "a", (INPUT,)), Node("b", "b", ("a",)), Node("add", "add", ("a", "b")),
             Node("c", "c", ("add",)), Node("both", "both", ("c", "add")), Node("head", "head", ("both",)))  # fmt: skip
    network = Network(nodes, layers, (1, 1, 1)).eval()
    # c has 1; the sum 2 + 3·1 = 5; a, behind the sum and behind b, 5 + 2·5, and b 5: one group, 20.
    assert of(network, "both") == {"a": [20.0], "c": [1.0]}


def test_inf_fs_is_the_sum_over_all_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    features[:, 3] = features[:, 0] + 0.1 * features[:, 3]
    alpha = 0.3
    spread = features.std(0, correction=0)
    spread = spread / spread.max()
    ranks = features.argsort(0).argsort(0).double()
    correlation = torch.corrcoef(ranks.T)
    graph = alpha * torch.maximum(spread[:, None], spread[None]) + (1 - alpha) * (1 - correlation.abs())
    step = 0.9 * graph / torch.linalg.eigvalsh(graph).abs().max()
    paths, power = torch.zeros_like(step), torch.eye(4, dtype=torch.float64)
    for _ in range(400):
        power = power @ step
        paths += power
    assert torch.allclose(infinite_feature_selection(features, alpha), paths.sum(1), rtol=1e-9)


def test_a_feature_that_says_the_same_as_another_ranks_lower() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 4, generator=generator)
    features[:, 3] = features[:, 0]
    ranked = infinite_feature_selection(features, alpha=0.2)
    assert float(ranked[[0, 3]].max()) < float(ranked[[1, 2]].min())
    # Constants: no spread, and no correlation with anything.
    assert bool(infinite_feature_selection(torch.ones(5, 2)).isfinite().all())


def test_the_channel_that_feeds_no_important_response_goes() -> None:
    network = chain(
        (2, 1, 1),
        a=conv([[1.0, 0.0], [0.0, 1.0]]),
        b=conv([[1.0, 0.01], [0.5, 0.02]]),
        flat=nn.Flatten(),
        head=nn.Linear(2, 2),
    )
    images = torch.randn(32, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    plan = Nisp(ratio=0.5, skip=("b",)).plan(network, Calibration(images, torch.zeros(32, dtype=torch.int64)))
    assert kept(plan) == {"a": (0,)}


def test_what_cannot_be_ranked_is_refused() -> None:
    network = chain((1, 100, 100), a=conv([[1.0]]), flat=nn.Flatten(), head=nn.Linear(10000, 2))
    with pytest.raises(PlanError, match=r"layer 'head' reads 10,000 final responses; expected at most 8,192"):
        Nisp().plan(network, Calibration(torch.zeros(2, 1, 100, 100), torch.zeros(2, dtype=torch.int64)))
    with pytest.raises(RecipeError, match=r"alpha is 2\.0"):
        Nisp(alpha=2.0)
    with pytest.raises(RecipeError, match="images is 1"):
        Nisp(images=1)
