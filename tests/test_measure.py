from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from camfit.data import Normalisation, Split
from camfit.engine import Engine
from camfit.errors import DataError
from camfit.forms import Codebook, Hashed, Masked, Sign, attach
from camfit.layers import BinaryConv2d
from camfit.measure import LayerMeasurement, accuracy, measure, measure_layers, milliseconds
from camfit.network import Network
from camfit.pack import pack
from camfit.tasks import Task, classification
from methods.chain import chain

PIXELS = Normalisation((1.0,), (0.0,))


def brightest() -> bytes:
    """Names the brightest of three pixels."""
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
    return pack(chain((1, 1, 3), flatten=nn.Flatten(), fc=layer), PIXELS).data


def pixels(count: int) -> Split:
    """Images of three different pixels, with the brightest one as label except in every fifth image."""
    rng = np.random.default_rng(0)
    images = np.stack([rng.permutation(256)[:3] for _ in range(count)]).astype(np.uint8)
    labels = images.argmax(1).astype(np.int64)
    labels[::5] = (labels[::5] + 1) % 3
    return Split(images[:, None, :, None], labels)


@pytest.mark.parametrize("count", [1, 7, 2345])
def test_accuracy_is_the_engines_on_every_image(count: int) -> None:
    assert accuracy(Engine(brightest()), pixels(count), classification()) == pytest.approx(1 - -(-count // 5) / count)


def test_the_tasks_own_metric_is_asked_for() -> None:
    def metric(outputs: object, targets: object) -> float:
        assert isinstance(outputs, np.ndarray) and isinstance(targets, np.ndarray)
        assert outputs.shape == (10, 3) and outputs.dtype == np.float32
        np.testing.assert_array_equal(outputs, pixels(10).images.reshape(10, 3))
        return 0.25

    task = Task("own", "own", classification().loss, metric)
    assert measure(brightest(), pixels(10), task, seconds=0.001).accuracy == 0.25


def test_images_that_do_not_fit_are_named() -> None:
    split = Split(np.zeros((2, 3, 1, 1), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="takes images of 1x3x1; the data has 3x1x1"):
        measure(brightest(), split, classification())


def test_a_measurement_holds_what_the_file_and_the_engine_say() -> None:
    data = brightest()
    found = measure(data, pixels(20), classification(), threads=2, seconds=0.001)
    engine = Engine(data, threads=2)
    assert (found.images, found.bytes, found.threads, found.isa) == (20, len(data), 2, engine.isa)
    # The identity is stored sparse: three weights.
    assert (found.macs, found.params, found.accuracy) == (3, 3, pytest.approx(0.8))
    assert found.peak_bytes >= engine.memory["total_bytes"]
    assert 0 < found.ms_median <= found.ms_p95


def test_at_least_twenty_and_at_most_two_thousand_runs_are_timed() -> None:
    engine, image = Engine(brightest()), pixels(1).images[0]
    assert len(milliseconds(engine, image, seconds=0)) == 20
    assert len(milliseconds(engine, image, seconds=1e9)) == 2000


def compressed() -> Network:
    """One layer in each form, with numbers of weights that are easy to count."""
    torch.manual_seed(0)
    network = chain(
        (1, 6, 6),
        dense=nn.Conv2d(1, 4, 3, bias=False),
        masked=nn.Conv2d(4, 6, 3),
        binary=BinaryConv2d(6, 8, (1, 1), bias=False),
        flatten=nn.Flatten(),
        shared=nn.Linear(32, 10, bias=False),
        hashed=nn.Linear(10, 5),
    )
    mask = torch.zeros(6, 4, 3, 3, dtype=torch.bool)
    mask[:, 0] = True
    index = torch.full((10, 32), -1)
    index[:, :4] = torch.arange(4)
    attach(network.layer("masked"), Masked(mask), torch.randn(6, 4, 3, 3))
    attach(network.layer("binary"), Sign(), torch.randn(8, 6, 1, 1))
    attach(network.layer("shared"), Codebook(index, 4), torch.randn(4))
    attach(network.layer("hashed"), Hashed((5, 10), 7, 1), torch.randn(7))
    return network


def test_layers_count_what_their_form_stores_and_computes() -> None:
    """Multiply-accumulates: weights (zeros left out) times pixels, 4x4 behind dense and 2x2 behind the other two."""
    packed = pack(compressed(), PIXELS)
    layers = {layer.name: layer for layer in measure_layers(packed.data, np.zeros((6, 6, 1), np.uint8))}
    figures = {name: (layer.form, layer.params, layer.macs) for name, layer in layers.items()}
    assert figures == {
        "dense": ("dense", 36, 36 * 16),
        "masked": ("sparse", 54 + 6, 54 * 4),
        "binary": ("sign", 48, 48 * 4),
        "flatten": ("", 0, 0),
        "shared": ("codebook", 40, 40),
        "hashed": ("hashed", 7 + 5, 50),
    }
    assert {name: layer.bytes for name, layer in layers.items() if layer.bytes} == packed.layers
    assert all(isinstance(layer, LayerMeasurement) and layer.ms >= 0 for layer in layers.values())
    total = measure(
        packed.data, Split(np.zeros((1, 6, 6, 1), np.uint8), np.zeros(1, np.int64)), classification(), seconds=0
    )
    assert total.macs == sum(layer.macs for layer in layers.values())
    assert total.params == sum(layer.params for layer in layers.values())
