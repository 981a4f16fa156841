from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.data import Normalisation
from camfit.errors import BudgetError, RecipeError
from camfit.forms import weight_of
from camfit.method import Calibration
from camfit.methods.pruning import weight_budget
from camfit.methods.pruning.limit import Limit
from camfit.methods.pruning.magnitude import Magnitude, density
from camfit.methods.pruning.optimal_brain_damage import OptimalBrainDamage
from camfit.methods.pruning.optimal_brain_surgeon import OptimalBrainSurgeon
from camfit.methods.pruning.weight_budget import WeightBudget
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply
from methods.chain import chain

METHODS = (Magnitude, OptimalBrainDamage, OptimalBrainSurgeon)


def subject() -> tuple[Network, Calibration]:
    """A convolution of 72 weights and 4,608 products, a linear layer of 2,048 weights and products."""
    torch.manual_seed(0)
    network = chain((1, 10, 10), conv=nn.Conv2d(1, 8, 3), relu=nn.ReLU(), flat=nn.Flatten(), fc=nn.Linear(512, 4))
    return network, Calibration(torch.randn(64, 1, 10, 10), torch.arange(64) % 4)


def products(network: Network) -> int:
    """Multiply-accumulates by a weight that is not zero."""
    whole = macs(network)
    return sum(
        whole[path] * int((weight_of(layer) != 0).sum()) // weight_of(layer).numel()
        for path, layer in network.weighted().items()
    )


@pytest.mark.parametrize("allocation", ["uniform", "global", "sensitivity", "least-loss"])
@pytest.mark.parametrize("method", METHODS)
def test_the_products_that_go_are_those_asked_for(method: type[WeightBudget], allocation: str) -> None:
    network, data = subject()
    plan = method(macs=0.5, allocation=allocation).plan(network, data)  # type: ignore[arg-type]
    left = products(apply(network, plan)) / sum(macs(network).values())
    # A weight of the convolution has 64 products of 6,656.
    assert 0.5 - 2 * 64 / 6656 <= left <= 0.5


def test_a_limit_of_products_weighs_weights_by_their_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal, straight curves the layer that has more to spare goes first, whichever that is, and alone."""
    network, data = subject()
    curve = ((0.0, 0.0), (0.999, 0.999))
    monkeypatch.setattr(weight_budget, "_curves", lambda *_: {"conv": curve, "fc": curve})
    by_products = _zeros(apply(network, Magnitude(macs=0.3, allocation="least-loss").plan(network, data)))
    by_weights = _zeros(apply(network, Magnitude(sparsity=0.3, allocation="least-loss").plan(network, data)))
    assert by_products == {"conv": pytest.approx(0.3 * 6656 / 4608, abs=1 / 72), "fc": 0.0}
    assert by_weights == {"conv": 0.0, "fc": pytest.approx(0.3 * 2120 / 2048, abs=0.001)}


def _zeros(network: Network) -> dict[str, float]:
    return {path: float((weight_of(layer) == 0).double().mean()) for path, layer in network.weighted().items()}


def test_sensitivity_cuts_each_layer_to_the_same_loss() -> None:
    network, data = subject()
    plan = Magnitude(sparsity=0.7, allocation="sensitivity").plan(network, data)
    zeros = _zeros(apply(network, plan))
    added = {path: _loss(plan.curves[path], zeros[path]) for path in zeros}
    assert density(apply(network, plan)) == pytest.approx(0.3, abs=0.01)
    assert zeros["fc"] != pytest.approx(zeros["conv"], abs=0.02), "the layers are not equally sensitive"
    # One weight of the convolution is 1.4 % of it: losses are as equal as that allows.
    slack = _loss(plan.curves["conv"], zeros["conv"] + 2 / 72) - _loss(plan.curves["conv"], zeros["conv"] - 2 / 72)
    assert abs(added["conv"] - added["fc"]) <= slack


def _loss(curve: tuple[tuple[float, float], ...], share: float) -> float:
    """Loss added, as the curve has it, where more removed never counts for better."""
    shares, losses = np.array(curve).T
    return float(np.interp(share, shares, np.maximum.accumulate(np.maximum(losses - losses[0], 0))))


def test_a_curve_is_the_loss_with_that_layer_alone_cut() -> None:
    network, data = subject()
    curve = dict(Magnitude(sparsity=0.5, allocation="least-loss").plan(network, data).curves["fc"])
    alone = apply(network, Magnitude(keep={"fc": 0.1, "conv": 1.0}).plan(network, data))
    with torch.no_grad():
        assert curve[0.9] == pytest.approx(float(data.loss(alone(data.inputs), data.targets)), rel=1e-5)
        assert curve[0.0] == pytest.approx(float(data.loss(network(data.inputs), data.targets)), rel=1e-5)


def _bytes(network: Network) -> int:
    return len(pack(network, Normalisation((1.0,), (0.0,))).data)


@pytest.mark.parametrize("method", METHODS)
def test_bytes_of_the_packed_file(method: type[WeightBudget]) -> None:
    network, data = subject()
    packed = _bytes(apply(network, method(size=0.5).plan(network, data)))
    assert 0.42 * _bytes(network) < packed <= 0.5 * _bytes(network)


def test_milliseconds_by_the_least_sparsity_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the clock: a network takes the time of its weights that are not zero."""
    network, data = subject()
    stand_in = Limit("latency", "milliseconds", density, 0.6)
    monkeypatch.setattr(weight_budget, "Limit", SimpleNamespace(of=lambda *_: stand_in))
    done = apply(network, Magnitude(latency=0.4).plan(network, data))
    assert 0.6 - 1.5 / 64 < density(done) <= 0.6


def test_named_layers_take_no_part() -> None:
    network, data = subject()
    for allocation in ("uniform", "global", "sensitivity", "least-loss"):
        options = Magnitude(sparsity=0.9, keep={"conv": 0.5}, allocation=allocation)  # type: ignore[arg-type]
        zeros = _zeros(apply(network, options.plan(network, data)))
        assert zeros["conv"] == 0.5 and zeros["fc"] == pytest.approx(0.9, abs=0.002)


def test_what_cannot_be_met_is_refused() -> None:
    network, data = subject()
    for method in METHODS:
        with pytest.raises(BudgetError, match=f"{method.NAME}: macs is 0.999, more than 99% of zeros spare: found "):
            method(macs=0.999).plan(network, data)
    with pytest.raises(BudgetError, match="size is 0.999, .* bytes, expected at most"):
        Magnitude(size=0.999).plan(network, data)


@pytest.mark.parametrize("method", METHODS)
def test_options_out_of_range_are_named(method: type[WeightBudget]) -> None:
    options: Mapping[str, object]
    for options, message in (
        ({"keep": {"fc": 0.0}}, "keep.fc is 0.0, expected above 0 and at most 1"),
        ({"keep": {"fc": 1.5}}, "keep.fc is 1.5, expected above 0 and at most 1"),
        ({"sparsity": 1.0}, r"sparsity is 1.0, expected in \[0, 1\)"),
        ({"sparsity": -0.1}, r"sparsity is -0.1, expected in \[0, 1\)"),
        ({"macs": 1.0}, r"macs is 1.0, expected in \(0, 1\)"),
        ({"macs": 0.5, "size": 0.5}, "macs and size are given, expected at most one limit"),
        ({"allocation": "local"}, "allocation is 'local', expected one of uniform, global, sensitivity, least-loss"),
    ):
        with pytest.raises(RecipeError, match=f"{method.NAME}: {message}"):
            method(**options)  # type: ignore[arg-type]
