from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camfit import data as datasets
from camfit.engine import Engine
from camfit.errors import PlanError, RecipeError
from camfit.evaluate import Samples, evaluate
from camfit.forms import Integer, Masked, attach, form_of, weight_of
from camfit.layers import Quantize
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.lower import lower
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import digits_cnn
from methods.chain import chain, linear
from networks import inputs, random_network
from tiny import dataset, trained_net


def calibration(x: Tensor) -> Calibration:
    return Calibration(x, torch.zeros(len(x), dtype=torch.int64))


def quantized(network: Network, x: Tensor, **options: object) -> Network:
    return apply(network, Int8(**options).plan(network, calibration(x)))  # type: ignore[arg-type]


def integer(network: Network, path: str) -> Integer:
    form = form_of(network.layer(path))
    assert isinstance(form, Integer)
    return form


def steps(network: Network) -> dict[str, tuple[float, int]]:
    """Scale and zero point of the layers that make bytes."""
    return {
        path: (float(layer.scale), int(layer.zero_point))
        for path, layer in network.layers()
        if isinstance(layer, Quantize)
    }


# -- by hand ---------------------------------------------------------------------------------------------------


def two_layers() -> Network:
    return chain((2,), one=linear([[1.27, 0.5], [0.0, -2.54]]), relu=nn.ReLU(), two=linear([[0.3, 0.1]]))


X = torch.tensor([[1.0, 0.0], [-1.55, 0.5]])


def test_scales_of_weights_by_channel_and_by_tensor() -> None:
    for rows, expected in (("channel", [0.01, 0.02]), ("tensor", [0.02, 0.02])):
        form = integer(quantized(two_layers(), X, weights=rows, calibration="min-max", bias_correction=False), "one")
        torch.testing.assert_close(form.scale, torch.tensor(expected))
    form = integer(quantized(two_layers(), X, weight_bits=4, calibration="min-max", bias_correction=False), "one")
    torch.testing.assert_close(form.scale, torch.tensor([1.27, 2.54]) / 7)


def test_steps_of_values_by_scheme() -> None:
    """The input spans −1.55 .. 1; behind the ReLU values reach 1.27."""
    found = steps(quantized(two_layers(), X, calibration="min-max", bias_correction=False))
    assert found == {"input_bytes": (pytest.approx(0.01), 155), "relu_bytes": (pytest.approx(1.27 / 255), 0)}
    found = steps(quantized(two_layers(), X, calibration="min-max", bias_correction=False, activations="symmetric"))
    assert found == {"input_bytes": (pytest.approx(1.55 / 127), 128), "relu_bytes": (pytest.approx(1.27 / 255), 0)}


def test_a_bias_far_above_its_weights_takes_at_most_thirty_bits() -> None:
    """Weights of 1e-12 beside a bias of 1, as folding a dead channel leaves them: their scale is raised."""
    network = chain((2,), fc=linear([[1e-12, -1e-12]]), relu=nn.ReLU(), last=linear([[1.0]]))
    network.layer("fc").bias = nn.Parameter(torch.ones(1))
    done = quantized(network, X, calibration="min-max", bias_correction=False)
    scale = steps(done)["input_bytes"][0]
    assert float(integer(done, "fc").scale) == pytest.approx(1 / (scale * 2**30))
    assert [op.op for op in lower(done)] == ["quantize", "int8_linear", "int8_linear"]
    torch.testing.assert_close(done(X), network(X), rtol=0.01, atol=0)


# -- laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_random_network_loses_little(seed: int) -> None:
    network = random_network(seed)
    x = inputs(network, seed, 16)
    with torch.no_grad():
        expected, found = network(x), quantized(network, x)(x)
    if 2 * int(expected.count_nonzero()) < expected.numel():
        pytest.skip("its activations leave next to nothing that an error could be compared with")
    assert float((found - expected).norm()) < 0.08 * float(expected.norm())


def test_pruned_weights_stay_zero_through_the_plan_and_training() -> None:
    torch.manual_seed(0)
    network = chain(
        (2, 4, 4),
        conv=nn.Conv2d(2, 3, 3, bias=False),
        norm=nn.BatchNorm2d(3),
        flatten=nn.Flatten(),
        fc=nn.Linear(12, 3),
    )
    mask = torch.rand(3, 2, 3, 3) < 0.5
    attach(network.layer("conv"), Masked(mask), torch.randn(3, 2, 3, 3))
    x = torch.randn(64, 2, 4, 4)
    done = quantized(network, x)
    before = weight_of(done.layer("conv")).detach().clone()
    samples = Samples(x, torch.arange(64) % 3)
    train(done, samples, samples, classification(), Train(3, 0.05, batch_size=16))
    after = weight_of(done.layer("conv")).detach()
    assert not bool(before[~mask].any() or after[~mask].any()) and not torch.equal(before, after)
    q = after / integer(done, "conv").scale.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(q, q.round(), rtol=0, atol=1e-4)


def test_training_goes_on_from_the_plan_and_recovers() -> None:
    """Two bits, each weight to the nearest, cost accuracy; a few epochs through the rounding give it back."""
    data = dataset()
    network = trace(trained_net(data), (1, 8, 8))
    training, held = Samples.of(data, data.train), Samples.of(data, data.val)
    done = quantized(network, training.inputs, weight_bits=2, output_rounding=0)
    before = evaluate(done, held, classification())
    train(done, training, held, classification(), Train(20, 0.02, batch_size=32))
    assert before < evaluate(done, held, classification()) >= evaluate(network, held, classification()) - 0.1


def test_the_engine_names_the_digits_as_torch_does() -> None:
    data = datasets.load("digits")
    torch.manual_seed(0)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    training = Samples.of(data, data.train)
    done = quantized(network, training.inputs)
    found = Engine(pack(done, data.normalisation).data).run(data.val.images)
    with torch.no_grad():
        expected = done(Samples.of(data, data.val).inputs).numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


# -- what stays float ------------------------------------------------------------------------------------------


def test_kept_layers_stay_as_they_are() -> None:
    network = two_layers()
    done = quantized(network, X, keep=("one",))
    assert form_of(done.layer("one")) is None and isinstance(form_of(done.layer("two")), Integer)
    assert list(steps(done)) == ["relu_bytes"]


def test_the_plan_tells_what_rounding_costs() -> None:
    plan = Int8().plan(two_layers(), calibration(X))
    assert plan.reason == "int8 weights per channel and affine bytes (mse) in 2 of 2 layers"
    assert set(plan.notes) == {"one", "two"} and plan.notes["one"]["weights"] == 4
    assert 20 < float(plan.notes["two"]["signal to noise, dB"]) < 100


def test_names_that_are_taken_are_left_alone() -> None:
    network = chain((2,), input_bytes=nn.ReLU(), one=nn.Linear(2, 2), two=nn.Linear(2, 1))
    assert list(steps(quantized(network, X))) == ["input_bytes_", "one_bytes"]
    network = chain((2,), a=nn.Linear(2, 2), input_bytes=nn.Linear(2, 2))
    assert list(steps(quantized(network, X))) == ["input_bytes_", "a_bytes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "row"}, "weights is 'row', expected one of channel, tensor"),
        ({"activations": "odd"}, "activations is 'odd', expected one of affine, symmetric"),
        ({"calibration": "max"}, "calibration is 'max', expected one of min-max, percentile, mse, entropy"),
        ({"weight_bits": 1}, "weight_bits is 1, expected 2 to 8"),
        ({"weight_bits": 9}, "weight_bits is 9, expected 2 to 8"),
        ({"percentile": 50.0}, "percentile is 50, expected above 50, up to 100"),
        ({"images": 0}, "images is 0, expected 1 or more"),
        ({"output_rounding": -1}, "output_rounding is -1, expected 0 or more"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"int8: {message}"):
        Int8(**options)  # type: ignore[arg-type]


def test_refusals_say_what_is_in_the_way() -> None:
    network = two_layers()
    with pytest.raises(RecipeError, match="int8: no layer 'three'"):
        quantized(network, X, keep=("three",))
    with pytest.raises(PlanError, match="no layer can take integer weights: 'one' is kept float; 'two' is kept float"):
        quantized(network, X, keep=("one", "two"))
    with pytest.raises(PlanError, match=r"int8: the network holds bytes already \(layer 'input_bytes'"):
        quantized(quantized(network, X), X)
    with pytest.raises(PlanError, match="int8: the value 'input' is not finite"):
        quantized(network, torch.full((2, 2), torch.nan))
