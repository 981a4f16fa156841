from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.errors import PlanError, RecipeError
from camfit.forms import Codebook, Masked, attach, form_of, weight_of
from camfit.method import Calibration
from camfit.methods.curvature import gauss_newton_diagonal
from camfit.methods.pruning.magnitude import Magnitude
from camfit.methods.pruning.optimal_brain_damage import OptimalBrainDamage
from camfit.methods.pruning.optimal_brain_surgeon import OptimalBrainSurgeon
from camfit.methods.pruning.weight_blocks import blocks_of
from camfit.network import Network
from camfit.surgery import apply
from methods.chain import chain


def correlated(features: int, count: int = 200) -> Calibration:
    """Inputs that nearly repeat each other, so that a weight's work can be taken over by others."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(count, 3, generator=generator) @ torch.randn(3, features, generator=generator)
    inputs = hidden + 0.1 * torch.randn(count, features, generator=generator)
    return Calibration(inputs, torch.randint(0, 3, (count,), generator=generator), seed=5)


def perceptron() -> Network:
    torch.manual_seed(0)
    return chain((12,), fc1=nn.Linear(12, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 3))


def convolutional() -> Network:
    torch.manual_seed(0)
    return chain((2, 5, 5), conv=nn.Conv2d(2, 4, 3), relu=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(36, 3))


def gauss_newton(network: Network, path: str, inputs: Tensor) -> Tensor:
    """The whole Gauss-Newton matrix of one weight, from autograd's gradients of each output."""
    weight = dict(network.named_parameters())[f"{path}.weight"]
    total = torch.zeros(weight.numel(), weight.numel(), dtype=torch.float64)
    for image in inputs:
        outputs = network(image[None])[0]
        rows = [torch.autograd.grad(output, weight, retain_graph=True)[0].flatten() for output in outputs]
        jacobian, p = torch.stack(rows).double(), outputs.detach().softmax(0).double()
        total += jacobian.T @ (p.diag() - torch.outer(p, p)) @ jacobian / len(inputs)
    return total


@pytest.mark.parametrize(("kind", "path"), [("perceptron", "fc1"), ("convolutional", "conv")])
def test_the_inverse_is_that_of_the_gauss_newton_matrix(kind: str, path: str) -> None:
    network = (perceptron() if kind == "perceptron" else convolutional()).double()
    inputs = torch.randn(20, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shape = tuple(weight_of(network.layer(path)).shape)
    hessian = gauss_newton(network, path, inputs)
    size = hessian.shape[0]
    data = Calibration(inputs, torch.zeros(20, dtype=torch.int64))
    options = OptimalBrainSurgeon(alpha=1e-3)
    whole, rows = blocks_of({path: shape}, size, 1)[0], blocks_of({path: shape}, 0, size // shape[0])[0]
    one, several = options.inverses(network, [whole, rows], data)
    direct = torch.linalg.inv(hessian + 1e-3 * torch.eye(size))
    torch.testing.assert_close(one[0], direct, rtol=1e-6, atol=1e-6)
    row = size // shape[0]
    for place, inverse in enumerate(several):
        part = hessian[place * row : (place + 1) * row, place * row : (place + 1) * row]
        torch.testing.assert_close(inverse, torch.linalg.inv(part + 1e-3 * torch.eye(row)), rtol=1e-6, atol=1e-6)
    diagonal = gauss_newton_diagonal(network, inputs, [path])[path]
    torch.testing.assert_close(hessian.diagonal().reshape(shape), diagonal)


def test_the_weights_that_stay_take_over_what_those_pruned_did() -> None:
    """Two inputs that are the same: the weight that goes is added to its twin, and no output changes."""
    layer = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, 1.0, 2.0], [-1.0, 0.25, 1.0]]))
    network = chain((3,), fc=layer)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    data = Calibration(torch.cat([x[:, :1], x], 1), torch.zeros(50, dtype=torch.int64))
    for whole in (6, 0):  # one block, and a block for each row
        options = OptimalBrainSurgeon(sparsity=1 / 3, whole=whole, block=3, allocation="uniform")
        pruned = apply(network, options.plan(network, data))
        difference = (pruned(data.inputs) - network(data.inputs)).detach()
        assert int((weight_of(pruned.layer("fc")) == 0).sum()) == 2
        # Soft-max sees only the difference of the two rows.
        assert float((difference[:, 0] - difference[:, 1]).abs().max()) < 1e-3
    assert weight_of(pruned.layer("fc")).tolist() == [
        [0, pytest.approx(1.5, abs=1e-3), pytest.approx(2, abs=1e-3)],
        [pytest.approx(-0.75, abs=1e-3), 0, pytest.approx(1, abs=1e-3)],
    ]


@pytest.mark.parametrize("whole", [1024, 0])
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_on_the_quadratic_it_costs_less_than_damage_and_magnitude(whole: int, sparsity: float) -> None:
    """A soft-max layer with its own outputs as targets, weights small: the loss is nearly ½·δ'Hδ."""
    torch.manual_seed(0)
    network = chain((12,), fc=nn.Linear(12, 3, bias=False))
    data = correlated(12)
    targets = network(data.inputs).softmax(1).detach()

    @torch.no_grad()
    def rise(options: OptimalBrainSurgeon | OptimalBrainDamage | Magnitude) -> float:
        pruned = apply(network, options.plan(network, data))
        assert int((weight_of(pruned.layer("fc")) == 0).sum()) == round(sparsity * 36)
        base = F.cross_entropy(network(data.inputs), targets)
        return float(F.cross_entropy(pruned(data.inputs), targets) - base)

    surgeon = rise(OptimalBrainSurgeon(sparsity=sparsity, whole=whole, block=12))
    damage = rise(OptimalBrainDamage(sparsity=sparsity))
    magnitude = rise(Magnitude(sparsity=sparsity))
    assert 0 <= surgeon < 0.5 * damage
    assert surgeon < 0.5 * magnitude


@pytest.mark.parametrize("block", [96, 12, 5])
def test_pruned_weights_stay_pruned_and_the_others_move(block: int) -> None:
    network, data = perceptron(), correlated(12)
    for sparsity in (0.3, 0.6, 0.2, 0.8):
        before = {path: weight_of(layer).detach() for path, layer in network.weighted().items()}
        options = OptimalBrainSurgeon(sparsity=sparsity, allocation="uniform", whole=0, block=block)
        network = apply(network, options.plan(network, data))
        for path, layer in network.weighted().items():
            after = weight_of(layer).detach()
            assert bool((after[before[path] == 0] == 0).all())
            assert isinstance(form_of(layer), Masked)
            if sparsity != 0.2:  # less than there was before: nothing goes
                stayed = after != 0
                assert bool((after[stayed] != before[path][stayed]).any())
    assert sum(int((weight_of(layer) != 0).sum()) for layer in network.weighted().values()) == round(0.2 * 120)


def test_nothing_moves_where_nothing_goes() -> None:
    network, data = perceptron(), correlated(12)
    pruned = apply(network, OptimalBrainSurgeon(sparsity=0.0).plan(network, data))
    for path, layer in network.weighted().items():
        torch.testing.assert_close(weight_of(pruned.layer(path)), weight_of(layer))


def test_layers_that_do_not_fit_into_memory_together_give_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = convolutional(), Calibration(torch.randn(8, 2, 5, 5), torch.zeros(8, dtype=torch.int64))
    options = OptimalBrainSurgeon(whole=0, block=36)
    together = apply(network, options.plan(network, data))
    monkeypatch.setattr("camfit.methods.pruning.optimal_brain_surgeon._HELD", 1)
    alone = apply(network, options.plan(network, data))
    for path, layer in together.weighted().items():
        assert torch.equal(weight_of(layer), weight_of(alone.layer(path)))


def test_a_weight_whose_values_are_shared_is_refused_by_name() -> None:
    network = perceptron()
    form = Codebook(torch.zeros(8, 12, dtype=torch.int64), 1)
    form.origin = "weight-sharing"
    attach(network.layer("fc1"), form, torch.ones(1))
    with pytest.raises(
        PlanError, match=r"surgeon: layer 'fc1': .* form codebook \(weight-sharing\), which cannot take"
    ):
        OptimalBrainSurgeon().plan(network, correlated(12))


def test_an_alpha_that_rounding_swallows_is_refused() -> None:
    with pytest.raises(PlanError, match="optimal-brain-surgeon: .* rounding with alpha 1e-30; a larger alpha helps"):
        OptimalBrainSurgeon(alpha=1e-30).plan(perceptron(), correlated(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 0}, "block is 0, expected 1 or more"),
        ({"whole": -1}, "whole is -1, expected 0 or more"),
        ({"samples": -1}, "samples is -1, expected 0 or more"),
        ({"alpha": 0.0}, "alpha is 0.0, expected above 0"),
        ({"alpha": float("nan")}, "alpha is nan, expected above 0"),
        ({"keep": {"fc1": 2.0}}, "keep.fc1 is 2.0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"optimal-brain-surgeon: {message}"):
        OptimalBrainSurgeon(**options)  # type: ignore[arg-type]
