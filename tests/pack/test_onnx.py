"""A network written as ONNX computes what it computes in torch, by the word of ONNX Runtime."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camfit import zoo
from camfit.errors import ModelError
from camfit.forms import Sign, attach
from camfit.layers import BinaryConv2d, BinaryLinear
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import Network, Node
from camfit.pack.onnx import to_onnx
from camfit.surgery import apply
from camfit.trace import trace
from networks import Allowed, inputs, quantized, random_network, with_forms

SHAPES = {
    "alexnet": (3, 63, 63),
    "lenet5": (1, 28, 28),
    "lenet_300_100": (1, 28, 28),
    "mobilenet_v1_025": (3, 96, 96),
    "resnet20": (3, 32, 32),
}


def run(model: bytes, images: Tensor) -> np.ndarray:
    """What ONNX Runtime makes of the images."""
    runtime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime, which is not installed")
    pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": images.numpy()})[0])


@torch.no_grad()
def assert_equal_in_onnx(network: Network, images: Tensor) -> None:
    """Within 1e-5 of the largest output, each image."""
    pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    expected = network.eval()(images).numpy()
    found = run(to_onnx(network), images)
    assert found.shape == expected.shape
    largest = np.abs(expected).reshape(len(expected), -1).max(1)
    worst = np.abs(found - expected).reshape(len(expected), -1).max(1)
    assert (worst <= 1e-5 * np.maximum(largest, 1e-3)).all(), f"off by {worst} where outputs reach {largest}"


@torch.no_grad()
def with_statistics(network: Network, seed: int) -> Network:
    """Batch-norms away from the identity, so that folding has something to do."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return network


@pytest.mark.parametrize("name", zoo.names())
def test_zoo_networks_agree(name: str) -> None:
    torch.manual_seed(5)
    shape = SHAPES.get(name, (3, 32, 32))
    network = with_statistics(trace(zoo.build(name, shape, 10), shape), 6)
    assert_equal_in_onnx(network, inputs(network, 7))


def test_random_networks_in_random_forms_agree() -> None:
    for seed in range(60):
        network = with_forms(random_network(seed), seed)
        assert_equal_in_onnx(network, inputs(network, seed))


@pytest.mark.parametrize("scale_input", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_binary_layers_agree(scale_input: bool, norm: bool) -> None:
    """Straight at the input: behind another layer, rounding may turn the sign of a value near 0."""
    torch.manual_seed(8)
    conv = BinaryConv2d(5, 6, (3, 2), (2, 1), (1, 1), scale_input=scale_input)
    linear = BinaryLinear(9, 4, scale_input=scale_input)
    for layer, kind, shape in ((conv, nn.BatchNorm2d(6), (5, 7, 8)), (linear, nn.BatchNorm1d(4), (9,))):
        attach(layer, Sign(), layer.weight.detach())
        nodes = [Node("layer", "layer", ("input",))]
        layers: dict[str, nn.Module] = {"layer": layer}
        if norm:
            nodes.append(Node("norm", "norm", ("layer",)))
            layers["norm"] = kind
            kind.running_var.fill_(3.0)
            kind.running_mean.fill_(0.25)
        network = Network(tuple(nodes), layers, shape).eval()
        images = inputs(network, 9)
        images[0, 0] = 0.0  # sign(0) is +1
        assert_equal_in_onnx(network, images)


def test_random_networks_with_binary_layers_are_valid() -> None:
    onnx = pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    for seed in range(20):
        network = random_network(seed, Allowed(binary=True))
        onnx.checker.check_model(onnx.load_from_string(to_onnx(network)), full_check=True)


@pytest.mark.parametrize("optimised", [False, True])
def test_integer_networks_agree_as_pairs_of_quantization(optimised: bool) -> None:
    """Halves go to even there, so some bytes differ by one. Seven bits: kernels without VNNI saturate beyond."""
    onnx = pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime, which is not installed")
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    kinds: set[str] = set()
    for seed in range(40):
        network = quantized(random_network(seed), seed, Int8(weight_bits=7))
        images, data = inputs(network, seed, 3), to_onnx(network)
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        kinds |= {node.op_type for node in model.graph.node}
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(None, {"input": images.numpy()})[0])
        with torch.no_grad():
            expected = network(images).numpy()
        assert np.abs(found - expected).max() <= 0.06 * max(float(np.abs(expected).max()), 1e-3), seed
    assert {"QuantizeLinear", "DequantizeLinear", "Conv", "Gemm"} <= kinds


def test_weights_of_integer_ops_are_bytes_in_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="writes with onnx, which is not installed")
    network = trace(zoo.build("digits_cnn", (1, 8, 8), 10), (1, 8, 8))
    calibration = Calibration(torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))
    model = onnx.load_from_string(to_onnx(apply(network, Int8().plan(network, calibration))))
    types = [value.data_type for value in model.graph.initializer if value.name.endswith(".integers")]
    assert types == [onnx.TensorProto.INT8] * 5
    biases = [value.data_type for value in model.graph.initializer if value.name.endswith(".sums")]
    assert biases == [onnx.TensorProto.INT32] * 5


def test_batch_is_free_and_image_comes_first() -> None:
    network = trace(zoo.build("lenet5", (1, 28, 28), 10), (1, 28, 28))
    for count in (1, 3):
        assert_equal_in_onnx(network, inputs(network, 1, count))


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    network = trace(zoo.build("lenet_300_100", (1, 28, 28), 10), (1, 28, 28))
    with pytest.raises(ModelError, match=r'pip install "camfit\[bench\]"'):
        to_onnx(network)
