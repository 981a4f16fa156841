"""A packed file written as ONNX computes what the engine computes, from raw images, by the word of ONNX Runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.errors import ExportError, ModelError
from camfit.export import export_onnx
from camfit.network import Network
from camfit.pack import pack
from engine.writer import RELU, Net, dense, sign
from export.compiled import images_for
from networks import random_network, with_forms


def packed(network: Network, **info: object) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1 / 64,) * channels, (-2.0,) * channels), info=dict(info)).data


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of images [N, H, W, C], its channels last again."""
    runtime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime, which is not installed")
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    first = images.astype(np.float32).transpose(0, 3, 1, 2)
    if len(session.get_inputs()[0].shape) == 2:
        first = first.reshape(len(first), -1)
    found = np.asarray(session.run(None, {"input": first})[0])
    return found.transpose(0, 2, 3, 1) if found.ndim == 4 else found


def assert_runs_as_the_engine(path: Path, data: bytes, seed: int = 0) -> None:
    pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    export_onnx(data, path)
    engine = Engine(data)
    images = images_for(engine, seed)
    wanted = engine.run(images)
    found = run(path, images).reshape(wanted.shape)
    assert np.abs(found - wanted).max() <= 2e-5 * max(1.0, np.abs(wanted).max())


def test_random_networks_in_random_forms(tmp_path: Path) -> None:
    for seed in range(40):
        assert_runs_as_the_engine(tmp_path / "net.onnx", packed(with_forms(random_network(seed), seed)), seed)


@pytest.mark.parametrize("scale_input", [False, True])
def test_binary_layers(scale_input: bool, tmp_path: Path) -> None:
    """Straight at the input: behind another layer, rounding may turn the sign of a value near 0."""
    rng = np.random.default_rng(0)
    net = Net((6, 5, 7), [0.01] * 7, [-1.3] * 7)
    weight = sign(rng.random(4), rng.standard_normal((4, 7, 3, 3)))
    net.conv2d(weight, pad=(1, 1, 1, 1), scale=dense(rng.random(4)), activation=RELU, scale_input=scale_input)
    assert_runs_as_the_engine(tmp_path / "conv.onnx", net.encode())
    net = Net((1, 1, 7), [0.01] * 7, [-1.3] * 7)
    net.linear(sign(rng.random(4), rng.standard_normal((4, 7))), bias=dense(rng.random(4)), scale_input=scale_input)
    assert_runs_as_the_engine(tmp_path / "linear.onnx", net.encode())


def test_an_image_of_one_pixel_is_a_vector_where_an_op_wants_one(tmp_path: Path) -> None:
    """What the format allows and packing never writes: no flatten, bare affine, a vector into a convolution."""
    rng = np.random.default_rng(0)
    net = Net((1, 1, 6), [0.01] * 6)
    image = net.conv2d(dense(rng.standard_normal((4, 6, 1, 1))))
    net.add_node("channel_shuffle", image, [2])
    vector = net.linear(dense(rng.standard_normal((4, 4))))
    net.add_node("affine", vector, [RELU], (None, None))
    net.add_node("affine", None, [0], (dense(rng.random(4)), None))
    net.add_node("add", [image, len(net.nodes)], [0])
    net.add_node("softmax")
    assert_runs_as_the_engine(tmp_path / "net.onnx", net.encode())


def test_it_carries_the_files_information(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    info = {"classes": ["a", "é"], "model": "m"}
    exported = export_onnx(packed(random_network(3), **info), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {"camfit": info}
    assert exported.weight_bytes == sum(exported.layers.values()) > 0


def test_somebody_elses_file_stays(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    path = tmp_path / "net.onnx"
    path.write_bytes(b"mine")
    data = packed(random_network(1))
    with pytest.raises(ExportError, match=r"net\.onnx: was not written by camfit export"):
        export_onnx(data, path)
    assert path.read_bytes() == b"mine"
    export_onnx(data, path, force=True)
    export_onnx(data, path)


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r'pip install "camfit\[bench\]"'):
        export_onnx(packed(random_network(1)), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
