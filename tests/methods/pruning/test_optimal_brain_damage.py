from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from camfit.errors import PlanError, RecipeError
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration
from camfit.methods.pruning.magnitude import Magnitude
from camfit.methods.pruning.optimal_brain_damage import OptimalBrainDamage
from camfit.network import Network
from camfit.surgery import apply
from methods.chain import chain, linear


def calibration(*shape: int, classes: int = 3, count: int = 32) -> Calibration:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, *shape, generator=generator)
    return Calibration(inputs, torch.randint(0, classes, (count,), generator=generator), seed=5)


def perceptron() -> Network:
    torch.manual_seed(0)
    return chain((6,), fc1=nn.Linear(6, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 3))


def test_saliency_is_half_the_second_derivative_times_the_weights_square() -> None:
    """One image x = (1, 2), all weights 1 in row 1 and 0.5 in row 2: logits 3 and 1.5, p = 0.818 and 0.182,
    h = p(1 - p)·x² = 0.149·(1, 4) for both rows, so ½·h·w² is 0.0746, 0.298 and a quarter of these."""
    network = chain((2,), fc=linear([[1.0, 1.0], [0.5, 0.5]]))
    data = Calibration(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))
    for derivatives in ("gauss-newton", "exact"):
        found = OptimalBrainDamage(derivatives=derivatives).saliencies(network, data)["fc"]  # type: ignore[arg-type]
        expected = torch.tensor([[0.07458, 0.29833], [0.018645, 0.07458]])
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_exact_takes_the_whole_hessian_where_outputs_are_curved() -> None:
    torch.manual_seed(0)
    network = chain((3,), fc1=nn.Linear(3, 3, bias=False), soft=nn.Softmax(1), fc2=nn.Linear(3, 3))
    data = calibration(3)
    weight = weight_of(network.layer("fc1")).detach()

    def loss(values: Tensor) -> Tensor:
        return data.loss(functional_call(network, {"fc1.weight": values}, (data.inputs,)), data.targets)

    hessian = torch.autograd.functional.hessian(loss, weight)
    assert isinstance(hessian, Tensor)
    expected = 0.5 * hessian.reshape(9, 9).diagonal().reshape(3, 3).clamp(min=0) * weight**2
    found = OptimalBrainDamage(derivatives="exact").saliencies(network, data)["fc1"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    part = OptimalBrainDamage().saliencies(network, data)["fc1"]
    assert float((part - expected).abs().max()) > 0.05 * float(expected.max())


def test_a_large_weight_on_a_dead_input_goes_before_a_small_one_that_matters() -> None:
    network = chain((2,), fc=linear([[9.0, 0.1], [-9.0, -0.1]]))
    data = Calibration(torch.tensor([[0.0, 1.0], [0.0, -1.0]]), torch.tensor([0, 1]))
    assert weight_of(apply(network, OptimalBrainDamage().plan(network, data)).layer("fc")).tolist() == [
        [0, pytest.approx(0.1)],
        [0, pytest.approx(-0.1)],
    ]
    assert weight_of(apply(network, Magnitude(sparsity=0.5).plan(network, data)).layer("fc")).tolist() == [
        [9, 0],
        [-9, 0],
    ]


@pytest.mark.parametrize("derivatives", ["gauss-newton", "exact"])
def test_saliency_foresees_the_loss_of_a_small_deletion(derivatives: str) -> None:
    """Where the gradient is zero, ½·h·w² is what the loss rises by when one small weight goes."""
    network = perceptron().double()
    data = calibration(6, count=300)
    inputs = data.inputs.double()
    targets = network(inputs).softmax(1).detach()  # the network's own: the loss is at its minimum

    @torch.no_grad()
    def loss(candidate: Network) -> float:
        return float(nn.functional.cross_entropy(candidate(inputs), targets))

    options = OptimalBrainDamage(derivatives=derivatives, skip=("fc2",))  # type: ignore[arg-type]
    if derivatives == "exact":
        drawn = torch.multinomial(targets, 1, generator=torch.Generator().manual_seed(0))[:, 0]
        data = Calibration(inputs, drawn)
    scores = options.saliencies(network, Calibration(inputs, data.targets))["fc1"].flatten()
    base = loss(network)
    for place in scores.argsort()[:10].tolist():
        mask = torch.ones(48, dtype=torch.bool)
        mask[place] = False
        pruned = network.clone()
        with torch.no_grad():
            weight_of(pruned.layer("fc1")).view(-1)[place] = 0
        assert loss(pruned) - base == pytest.approx(float(scores[place]), rel=0.3, abs=1e-7)


def test_a_plan_masks_the_least_salient_weights_of_all_layers() -> None:
    network, data = perceptron(), calibration(6)
    options = OptimalBrainDamage(sparsity=0.6)
    scores = options.saliencies(network, data)
    plan = options.plan(network, data)
    pruned = apply(network, plan)
    masks = {path: form_of(pruned.layer(path)).mask for path in scores}  # type: ignore[union-attr]
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.4 * 72)
    stay = torch.cat([scores[path][masks[path]] for path in scores])
    go = torch.cat([scores[path][~masks[path]] for path in scores])
    assert float(stay.min()) >= float(go.max())
    assert sum(float(note["loss added"]) for note in plan.notes.values()) == pytest.approx(float(go.sum()), rel=1e-5)
    for path in scores:
        assert torch.equal(weight_of(pruned.layer(path)), weight_of(network.layer(path)) * masks[path])


def test_pruned_weights_stay_pruned_in_later_rounds() -> None:
    network, data = perceptron(), calibration(6)
    for sparsity in (0.3, 0.6, 0.2, 0.8):
        before = {path: weight_of(layer) != 0 for path, layer in network.weighted().items()}
        network = apply(network, OptimalBrainDamage(sparsity=sparsity).plan(network, data))
        after = {path: weight_of(layer) != 0 for path, layer in network.weighted().items()}
        assert all(not bool((after[path] & ~before[path]).any()) for path in after)
        assert all(isinstance(form_of(layer), Masked) for layer in network.weighted().values())
    assert sum(int(mask.sum()) for mask in after.values()) == round(0.2 * 72)


def test_the_exact_diagonal_has_a_stated_limit() -> None:
    network = chain((100,), fc=nn.Linear(100, 101))
    with pytest.raises(PlanError, match="'exact' on 10,100 weights, expected at most 10,000"):
        OptimalBrainDamage(derivatives="exact").plan(network, calibration(100, classes=101, count=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"derivatives": "fisher"}, "derivatives is 'fisher', expected 'gauss-newton' or 'exact'"),
        ({"samples": -1}, "samples is -1, expected 0 or more"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"optimal-brain-damage: {message}"):
        OptimalBrainDamage(**options)  # type: ignore[arg-type]
