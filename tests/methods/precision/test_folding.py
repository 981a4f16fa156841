from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.forms import Masked, attach, form_of
from camfit.methods.precision.folding import foldable, folded, replacements
from camfit.network import INPUT, Network, Node
from camfit.plan import Plan
from camfit.surgery import apply
from methods.chain import chain
from networks import inputs, random_network


def fold_all(network: Network) -> Network:
    norms = foldable(network, tuple(network.weighted()))
    layers = {path: folded(network.layer(path), network.layer(norm)) for path, norm in norms.items()}  # type: ignore[arg-type]
    return apply(network, Plan("fold", replacements(network, layers, norms)))


def test_a_norm_folds_by_hand() -> None:
    """y = 3·((2x + 1) − 5)/√(4 − ε + ε) + 7 = 3x + 1."""
    layer, norm = nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0.5)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
        norm.weight.fill_(3.0)
        norm.bias.fill_(7.0)
        norm.running_mean.fill_(5.0)  # type: ignore[union-attr]
        norm.running_var.fill_(3.5)  # type: ignore[union-attr]
    made = folded(layer, norm)
    assert (made.weight.tolist(), made.bias.tolist()) == ([[3.0]], [1.0])


@pytest.mark.parametrize("seed", range(30))
def test_folding_leaves_the_function_as_it_is(seed: int) -> None:
    network = random_network(seed).double()
    done = fold_all(network)
    x = inputs(network, seed)
    with torch.no_grad():
        torch.testing.assert_close(done(x), network(x), rtol=1e-9, atol=1e-9)


def test_a_mask_stays_and_the_layer_is_a_copy() -> None:
    network = chain((2, 4, 4), conv=nn.Conv2d(2, 3, 1, bias=False), norm=nn.BatchNorm2d(3))
    mask = torch.tensor([[1, 0], [0, 1], [1, 1]]).bool().reshape(3, 2, 1, 1)
    attach(network.layer("conv"), Masked(mask), torch.ones(3, 2, 1, 1))
    done = fold_all(network)
    form = form_of(done.layer("conv"))
    assert isinstance(form, Masked) and torch.equal(form.mask, mask) and "norm" not in done.layer_paths()
    assert network.layer("conv").bias is None and done.layer("conv").bias is not None
    x = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(done(x), network(x))


def test_a_norm_with_other_readers_or_layers_is_left_alone() -> None:
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(1, 1, 1), "a": nn.BatchNorm2d(1), "b": nn.BatchNorm2d(1)}

    def norms(*nodes: tuple[str, str, str]) -> dict[str, str]:
        made = tuple(Node(name, layer, (source,)) for name, layer, source in nodes)
        return foldable(Network(made, {node.layer: layers[node.layer] for node in made}, (1, 2, 2)), ("conv",))

    assert norms(("conv", "conv", INPUT), ("a", "a", "conv")) == {"conv": "a"}
    assert norms(("conv", "conv", INPUT), ("a", "a", "conv"), ("a@2", "a", "a")) == {}, "the norm runs elsewhere too"
    assert norms(("conv", "conv", INPUT), ("a", "a", "conv"), ("b", "b", "conv")) == {}, "two read the layer"
    twice = (("conv", "conv", INPUT), ("a", "a", "conv"), ("conv@2", "conv", "a"))
    assert norms(*twice, ("b", "b", "conv@2")) == {}, "the layer's calls have norms of their own"
    assert norms(*twice, ("a@2", "a", "conv@2")) == {"conv": "a"}, "or share one"
    assert norms(*twice) == {}, "the last call has none"
