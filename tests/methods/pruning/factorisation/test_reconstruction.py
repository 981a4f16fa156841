from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camfit.methods.pruning.factorisation.decomposition import Factors
from camfit.methods.pruning.factorisation.reconstruction import refit
from camfit.methods.pruning.factorisation.spatial import Spatial
from camfit.methods.pruning.factorisation.svd import Svd
from camfit.methods.pruning.factorisation.tucker import Tucker
from camfit.network import INPUT, Network, Node
from methods.chain import chain
from methods.factors import through


def copied(factors: Factors) -> Factors:
    return tuple((name, copy.deepcopy(layer)) for name, layer in factors)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [Tucker, Spatial])
def test_the_layers_outputs_come_nearer(kind: type[Tucker] | type[Spatial], stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, stride, 1)
    network = chain((4, 9, 9), conv=layer)
    # Images whose channels and neighbours hang together, as features do: there the weight's own norm is a poor guide.
    x = nn.functional.avg_pool2d(torch.einsum("nihw,ij->njhw", torch.randn(40, 2, 11, 11), torch.randn(2, 4)), 3, 1)
    decomposition = kind(layer)
    factors, _ = decomposition.factors(tuple(max(1, n // 2) for n in decomposition.largest))
    fitted = copied(factors)
    refit(network, {"conv": fitted}, x, seed=0)
    with torch.no_grad():
        expected = layer(x)
        before, after = ((through(f, x) - expected).square().mean() for f in (factors, fitted))
    assert float(after) < 0.7 * float(before)
    assert torch.equal(fitted[0][1].weight, factors[0][1].weight)  # type: ignore[arg-type]


def test_it_is_least_squares_with_a_ridge_towards_what_was_there() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(6, 3, bias=False).double()
    x = torch.randn(50, 6, dtype=torch.float64)
    factors, _ = Svd(layer).factors((2,))
    fitted = copied(factors)
    refit(chain((6,), fc=layer), {"fc": fitted}, x, seed=0)
    z = x @ factors[0][1].weight.detach().T  # type: ignore[operator]
    old, new = (f[1][1].weight.detach() for f in (factors, fitted))
    assert isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor)
    ridge = 1e-2 * float((z.T @ z).diagonal().mean())
    # The gradient of |x W' - z new'|² + ridge |new - old|² vanishes.
    gradient = (z @ new.T - x @ layer.weight.detach().T).T @ z + ridge * (new - old)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


def test_later_layers_repair_what_earlier_ones_lost() -> None:
    """Asymmetric: the second layer is fitted on what the first one's factors give, not on what the layer gave.

    The first factors pass nothing on but a bias, whose ReLU is 0, where the layer's ReLU is 0.4 σ on average: a shift
    that only a fit to the factors' values can see.
    """
    torch.manual_seed(2)
    first, second = nn.Linear(8, 8), nn.Linear(8, 4)
    nn.init.constant_(second.weight, 0.1)
    nn.init.zeros_(first.bias)
    network = chain((8,), a=first, relu=nn.ReLU(), b=second)
    x = torch.randn(2000, 8)
    nothing, whole = Svd(first).factors((1,))[0], Svd(second).factors((1,))[0]
    with torch.no_grad():
        for _, factor in nothing:
            factor.weight.zero_()  # type: ignore[operator, union-attr]
    together, alone = {"a": copied(nothing), "b": copied(whole)}, {"b": copied(whole)}
    refit(network, together, x, seed=0)
    refit(network, alone, x, seed=0)

    def error(b: Factors) -> float:
        with torch.no_grad():
            return float((through(b, through(together["a"], x).relu()) - network(x)).square().mean())

    assert error(together["b"]) < 0.5 * error(alone["b"])
    torch.testing.assert_close(alone["b"][1][1].weight, whole[1][1].weight, rtol=1e-3, atol=1e-4)


def test_a_shared_layer_stays_as_it_is() -> None:
    layer = nn.Linear(5, 5)
    network = Network((Node("fc", "fc", (INPUT,)), Node("fc@2", "fc", ("fc",))), {"fc": layer}, (5,)).eval()
    factors, _ = Svd(layer).factors((2,))
    before = copied(factors)
    refit(network, {"fc": factors}, torch.randn(20, 5), seed=0)
    assert torch.equal(factors[1][1].weight, before[1][1].weight)  # type: ignore[arg-type]
