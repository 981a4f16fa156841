"""Law 3: the engine computes what torch computes, whatever the network, its forms, the method, the mode and the kernels.

Tolerances are relative to the network's largest output. Float sums differ in order only: the worst of some ten thousand
runs over all forms was 8e-6 (dense 4e-6, hashed 2e-6, sign 2e-6, codebook and sparse 5e-7; 8e-6 where they mix). With
``half`` the rounding of biases, scales and centroids to binary16 (5e-4 each) adds up over layers: 5e-3 was the worst.
Bytes are another matter: where torch's fake quantization and the engine's integers round to different sides, whole steps
differ (3e-2 was the worst). tests/pack/test_integer_engine.py compares them with exact integers, to the bit.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from camfit.data import Normalisation, to_tensor
from camfit.engine import Engine
from camfit.errors import PlanError
from camfit.layers import Quantize
from camfit.method import Calibration
from camfit.network import Network
from camfit.pack import CODERS, pack
from camfit.recipe import method_with
from camfit.surgery import apply
from contract.subjects import MODELS, PLANNERS, any_loss, planner, small_network
from engine.run import ISAS, MODES
from networks import Allowed, inputs, random_network, with_forms

TOLERANCE = 2e-5
HALF_TOLERANCE = 1e-2
BYTES_TOLERANCE = 8e-2
FORMS = ("dense", "masked", "codebook", "hashed", "sign")


def raw(network: Network, seed: int) -> tuple[np.ndarray, Normalisation]:
    """Two images of random bytes, and a normalisation to about -2 .. 3 that differs from channel to channel."""
    channels, *size = network.input_shape
    rng = np.random.default_rng(seed)
    normalisation = Normalisation(tuple(rng.uniform(0.005, 0.02, channels)), tuple(rng.uniform(-2, -0.5, channels)))
    return rng.integers(0, 256, (2, *(size or (1, 1)), channels), dtype=np.uint8), normalisation


@torch.no_grad()
def in_torch(network: Network, images: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    """The network's outputs in the engine's layout."""
    x = to_tensor(images, normalisation)
    outputs = network(x if len(network.input_shape) == 3 else x.flatten(1)).numpy()
    return outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs


def in_engine(data: bytes, images: np.ndarray, like: np.ndarray, isa: str, mode: str, threads: int = 1) -> np.ndarray:
    outputs = Engine(data, isa=isa, mode=mode, threads=threads).run(images)  # type: ignore[arg-type]
    return outputs.reshape(like.shape)  # an image of one pixel is a vector to the engine


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(float(np.abs(expected).max()), 1e-2))


def assert_agrees(network: Network, seed: int) -> None:
    """Torch, every instruction set and both modes within the tolerance; two threads to the bit."""
    tolerance = BYTES_TOLERANCE if any(isinstance(layer, Quantize) for _, layer in network.layers()) else TOLERANCE
    images, normalisation = raw(network, seed)
    expected = in_torch(network, images, normalisation)
    data = pack(network, normalisation).data
    found = {}
    for isa, mode in itertools.product(ISAS, MODES):
        found[isa, mode] = in_engine(data, images, expected, isa, mode)
        assert_close(found[isa, mode], expected, tolerance)
        np.testing.assert_array_equal(in_engine(data, images, expected, isa, mode, threads=2), found[isa, mode])
    for one, other in itertools.combinations(found.values(), 2):
        assert_close(one, other, tolerance)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("form", [*FORMS, "mixed"])
def test_on_random_networks_in_every_form(form: str, seed: int) -> None:
    base = random_network(seed, Allowed(binary=seed % 3 == 0))
    assert_agrees(with_forms(base, seed, FORMS if form == "mixed" else (form,)), seed)


def rewritten(name: str, seed: int) -> Network:
    """A random network after the method; the first of a few on which the method finds something to do."""
    for network in (random_network(seed + attempt) for attempt in range(0, 1000, 100)):
        x = inputs(network, seed)
        try:
            data = Calibration(x, torch.zeros(len(x), dtype=torch.int64), seed, any_loss)
            plan = planner(name).plan(network, data)
        except PlanError:
            continue
        return apply(network, plan)
    raise AssertionError(f"{name} refuses ten random networks from seed {seed} on")


@pytest.mark.parametrize("seed", range(100, 120))
@pytest.mark.parametrize("name", PLANNERS)
def test_on_random_networks_after_every_method(name: str, seed: int) -> None:
    assert_agrees(rewritten(name, seed), seed)


@pytest.mark.parametrize("seed", range(200, 210))
@pytest.mark.parametrize("second", [None, "weight-sharing", "int8"])
@pytest.mark.parametrize("convolution", ["tucker", "cp", "spatial"])
def test_on_random_networks_of_factors(convolution: str, second: str | None, seed: int) -> None:
    network = random_network(seed)
    x = inputs(network, seed)
    calibration = Calibration(x, torch.zeros(len(x), dtype=torch.int64), seed)
    method = method_with("low-rank", {"convolution": convolution, "energy": 0.5})
    network = apply(network, method.plan(network, calibration))
    if second is not None:
        network = apply(network, planner(second).plan(network, calibration))
    assert_agrees(network, seed)


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("kind", MODELS)
def test_on_small_networks_of_every_kind(kind: str, name: str, calibration: Calibration) -> None:
    network = small_network(kind)
    assert_agrees(apply(network, planner(name).plan(network, calibration)), 0)


@pytest.mark.parametrize("seed", range(40))
def test_with_values_in_half_precision(seed: int) -> None:
    """No binary layers here: their input's rounding may turn a sign, and then nothing is close."""
    network = with_forms(random_network(seed), seed, ("dense", "masked", "codebook", "hashed", "sign"))
    images, normalisation = raw(network, seed)
    expected = in_torch(network, images, normalisation)
    whole, half = pack(network, normalisation).data, pack(network, normalisation, half=True).data
    assert len(half) <= len(whole)
    assert_close(in_engine(half, images, expected, "auto", "speed"), expected, HALF_TOLERANCE)


@pytest.mark.parametrize("seed", range(20))
def test_the_entropy_coder_changes_no_bit_of_the_outputs(seed: int) -> None:
    network = with_forms(random_network(seed), seed, ("codebook", "masked"))
    images, normalisation = raw(network, seed)
    expected = in_torch(network, images, normalisation)
    results = [
        in_engine(pack(network, normalisation, coder=coder).data, images, expected, "auto", mode)
        for coder, mode in itertools.product(CODERS, MODES)
    ]
    for result in results[len(MODES) :: len(MODES)]:
        np.testing.assert_array_equal(result, results[0])
    for result in results[len(MODES) + 1 :: len(MODES)]:
        np.testing.assert_array_equal(result, results[1])


@pytest.mark.parametrize("seed", range(10))
def test_one_image_is_the_batch_and_floats_are_bytes(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=True)), seed)
    images, normalisation = raw(network, seed)
    engine = Engine(pack(network, normalisation).data)
    batch = engine.run(images)
    np.testing.assert_array_equal(np.stack([engine.run(image) for image in images]), batch)
    np.testing.assert_array_equal(engine.run(images.astype(np.float32)), batch)
