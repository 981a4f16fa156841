from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from torch import nn

from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.errors import RecipeError
from camfit.evaluate import Samples
from camfit.forms import Hashed, form_of, stored_of
from camfit.method import Calibration
from camfit.methods.hashing.hashednets import HashedNets
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, train
from methods.chain import CALIBRATION, chain


def small() -> Network:
    torch.manual_seed(0)
    return chain(
        (3, 6, 6),
        conv=nn.Conv2d(3, 16, 3, padding=1),
        relu=nn.ReLU(),
        flatten=nn.Flatten(),
        fc=nn.Linear(576, 10, bias=False),
    )


def hashed(network: Network, options: HashedNets, seed: int = 0) -> Network:
    return apply(network, options.plan(network, Calibration(CALIBRATION.inputs, CALIBRATION.targets, seed)))


def form(network: Network, path: str) -> Hashed:
    found = form_of(network.layer(path))
    assert isinstance(found, Hashed)
    return found


def test_a_layer_has_as_many_buckets_as_its_compression_leaves() -> None:
    result = hashed(small(), HashedNets(compression=8, compressions={"fc": 64.0}))
    assert form(result, "conv").buckets == 16 * 27 // 8 == len(stored_of(result.layer("conv")))
    assert form(result, "fc").buckets == 5760 // 64
    # More compression than weights leaves one.
    assert form(hashed(small(), HashedNets(compression=1e9)), "fc").buckets == 1


def test_layers_and_seeds_hash_differently() -> None:
    """The form of seed s hashes with s and s + 1, so no two layers may have neighbouring seeds."""
    taken: list[int] = []
    for seed in (0, 1):
        result = hashed(small(), HashedNets(), seed)
        for path in ("conv", "fc"):
            taken += [form(result, path).seed, form(result, path).seed + 1]
    assert len(set(taken)) == len(taken)


def test_a_random_start_has_the_variance_that_keeps_activations() -> None:
    network = chain((200,), fc=nn.Linear(200, 500))
    stored = stored_of(hashed(network, HashedNets(compression=5)).layer("fc"))
    stored = stored.detach()
    assert float(stored.std()) == pytest.approx((2 / 200) ** 0.5, rel=0.02)
    assert float(stored.mean()) == pytest.approx(0, abs=0.002)


def test_a_projected_start_is_nearer_to_the_trained_weights_than_any_other() -> None:
    network = small()
    weight = network.layer("fc").weight.detach()  # type: ignore[operator, union-attr]
    result = hashed(network, HashedNets(start="project"))
    stored = stored_of(result.layer("fc")).detach()
    nearest = float((form(result, "fc")(stored) - weight).square().sum())
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = stored + 0.01 * torch.randn(len(stored), generator=generator)
        assert float((form(result, "fc")(moved) - weight).square().sum()) > nearest


def test_the_file_stores_four_bytes_a_bucket_and_eight_for_the_hash() -> None:
    network = hashed(small(), HashedNets(compression=16))
    packed = pack(network, Normalisation((0.01,) * 3, (-1.0,) * 3))
    buckets = {path: form(network, path).buckets for path in ("conv", "fc")}
    assert packed.layers == {"conv": 4 * buckets["conv"] + 8 + 4 * 16, "fc": 4 * buckets["fc"] + 8}
    # The BLOB section holds exactly that; fc's payload is its seed, K and the buckets.
    offset, length = struct.unpack("<II", packed.data[16 + 3 * 16 + 4 :][:8])
    assert length == sum(packed.layers.values()) and offset + length == len(packed.data)
    payload = packed.data[-packed.layers["fc"] :]
    assert struct.unpack("<II", payload[:8]) == (form(network, "fc").seed, buckets["fc"] | 1 << 31)
    values = stored_of(network.layer("fc")).detach().numpy()
    np.testing.assert_array_equal(np.frombuffer(payload[8:], "<f4"), values)


@pytest.mark.parametrize("mode", ["speed", "memory"])
def test_the_engine_runs_it_from_buckets(mode: str) -> None:
    network = hashed(small(), HashedNets(compression=16))
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
    engine = Engine(pack(network, Normalisation((0.01,) * 3, (-1.0,) * 3)).data, mode=mode)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2)).float() * 0.01 - 1).numpy()
    np.testing.assert_allclose(engine.run(images), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_training_moves_buckets_and_keeps_weights_shared() -> None:
    network = hashed(small(), HashedNets(compression=32))
    before = stored_of(network.layer("fc")).detach().clone()
    generator = torch.Generator().manual_seed(1)
    samples = Samples(torch.randn(64, 3, 6, 6, generator=generator), torch.arange(64) % 10)
    history = train(network, samples, samples, classification(), Train(6, 0.05, batch_size=16))
    assert history.loss[-1] < 0.8 * history.loss[0]
    stored = stored_of(network.layer("fc")).detach()
    assert bool((stored != before).all())
    weight = network.layer("fc").weight.detach()  # type: ignore[operator, union-attr]
    assert torch.equal(weight, form(network, "fc")(stored)) and len(weight.abs().unique()) <= len(stored)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": 0.5}, "compression is 0.5, expected 1 or more"),
        ({"compressions": {"fc": 0.0}}, "compressions.fc is 0.0, expected 1 or more"),
        ({"start": "zero"}, "start is 'zero', expected 'project' or 'random'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"hashednets: {message}"):
        HashedNets(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"compressions": {"fc3": 4.0}}, {"skip": ("fc3",)}])
def test_a_layer_that_is_not_there_is_named(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="hashednets: no layer 'fc3'.*expected one of conv, fc"):
        HashedNets(**options).plan(small(), CALIBRATION)  # type: ignore[arg-type]
