"""Exported integer networks: the engine's bits, and what a processor without floats can run."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camfit import zoo
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.export import export_c
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.pack import pack
from camfit.trace import trace
from engine.test_integers import everything, scales
from engine.writer import NONE, RELU, RELU6, Net, Weight, dense, integers, level
from export.compiled import (
    STRICT,
    assert_runs_as_the_engine,
    assert_same_bits,
    cc,
    compiled,
    images_for,
    run_c,
    run_on_arm,
)
from networks import networks, quantized, random_network


def packed(network: Network) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1 / 64,) * channels, (-2.0,) * channels)).data


def fixed_outputs(library: ctypes.CDLL, engine: Engine, images: np.ndarray, bits: int) -> np.ndarray:
    """What ``net_run_fixed`` makes of images, as real numbers."""
    outputs = np.empty((len(images), int(np.prod(engine.output_shape))), np.int32)
    for image, output in zip(images, outputs, strict=True):
        library.net_run_fixed(image.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
    return np.ldexp(outputs.astype(np.float64), -bits)


# -- the same bits ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(0, 1 << 16))
def test_random_networks(network: Network, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_runs_as_the_engine(Path(folder), packed(quantized(network, seed)), seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_every_integer_op(seed: int, tmp_path: Path) -> None:
    assert_runs_as_the_engine(tmp_path, everything(np.random.default_rng(seed)).encode(), seed)
    assert "net_run_fixed" in (tmp_path / "net.h").read_text()


def sparse_ends(seed: int) -> Net:
    """Convolutions and linear layers of mostly zeros, a mean with padding, ReLU6 everywhere, dequantized at the end."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Weight:
        return integers(rng.integers(-127, 128, shape) * (rng.random(shape) < 0.05))

    net = Net((8, 9, 4), scale=[0.05] * 4, shift=[-6.0] * 4)
    net.quantize(0.05, 131)
    net.int8_conv2d(
        weight(10, 2, 3, 2), scales(*rng.uniform(1e-3, 1e-2, 10)), level(0.03, 7), pad=(1, 0, 1, 1), stride=(1, 2),
        groups=2, activation=RELU6, bias=dense(rng.normal(size=10)),
    )  # fmt: skip
    net.pool("avg_pool", (3, 3), stride=(2, 2), pad=(1, 1, 1, 1), count_include_pad=True)
    net.add_node("activation", None, [RELU6])
    net.add_node("flatten")
    net.int8_linear(weight(37, 120), scales(*[0.02] * 37), level(0.07, 90), bias=dense(rng.normal(size=37)))
    net.add_node("dequantize")
    return net


def float_image(seed: int) -> Net:
    """A convolution whose float output is the network's, and nothing pruned."""
    rng = np.random.default_rng(seed)
    net = Net((5, 6, 3), scale=[0.02, 0.01, 0.03], shift=[-1.0, -2.0, 0.0])
    net.quantize(0.03, 40)
    net.int8_conv2d(
        integers(rng.choice([-1, 1], (7, 3, 2, 2)) * rng.integers(1, 128, (7, 3, 2, 2))), scales(*rng.uniform(1e-4, 1, 7)),
        [0, 0], dilation=(2, 1), activation=RELU6,
    )  # fmt: skip
    return net


def pooled_rows(seed: int) -> Net:
    """Convolutions that are pooled as they are computed: overlapping with padding, depthwise, from a stream of zeros."""
    rng = np.random.default_rng(seed)
    net = Net((21, 18, 3), scale=[0.05] * 3, shift=[-6.0] * 3)
    net.quantize(0.05, 131)
    dense_weight = integers(rng.choice([-1, 1], (8, 3, 3, 3)) * rng.integers(1, 128, (8, 3, 3, 3)))
    net.int8_conv2d(dense_weight, scales(*rng.uniform(1e-3, 3e-3, 8)), level(0.3, 7), pad=(1, 1, 1, 1), activation=RELU)
    net.pool("max_pool", (3, 3), stride=(2, 2), pad=(1, 1, 1, 1))
    depthwise = integers(rng.integers(-127, 128, (8, 1, 3, 3)))
    net.int8_conv2d(depthwise, scales(*[0.004] * 8), level(0.3, 128), pad=(1, 1, 1, 1), groups=8)
    net.pool("avg_pool", (2, 3), stride=(2, 1), pad=(1, 0, 0, 1), count_include_pad=bool(seed % 2))
    sparse = integers(rng.integers(-127, 128, (12, 8, 3, 3)) * (rng.random((12, 8, 3, 3)) < 0.05))
    net.int8_conv2d(sparse, scales(*[0.02] * 12), level(0.5, 128))
    net.pool("max_pool", (1, 2), stride=(3, 2))
    net.add_node("dequantize")
    return net


@pytest.mark.parametrize("seed", range(2))
def test_rows_are_pooled_as_they_are_computed(seed: int, tmp_path: Path) -> None:
    data = pooled_rows(seed).encode()
    exported = assert_runs_as_the_engine(tmp_path, data, seed)
    source = (tmp_path / "net.c").read_text()
    assert source.count("= next_band(") == 3
    # Three rows of 18 x 8 of the first convolution are the most; the last one's stream adds to one row of 6 at a time.
    assert "static uint8_t rows[432];" in source and "static int32_t sums[6];" in source
    # The plan's largest: the input's bytes behind the place of its floats, which are rounded up to 64 bytes.
    assert exported.arena_bytes == 4544 + 21 * 18 * 3 + 432 + 4 * 6


@pytest.mark.parametrize("net", [sparse_ends(0), sparse_ends(1), float_image(0)], ids=["sparse", "sparse 1", "image"])
def test_networks_by_hand(net: Net, tmp_path: Path) -> None:
    assert_runs_as_the_engine(tmp_path, net.encode())
    assert ("_sparse(" in (tmp_path / "net.c").read_text()) == (len(net.nodes) > 2)


def test_floats_beyond_bytes_saturate_and_no_number_is_0(tmp_path: Path) -> None:
    net = float_image(1)
    data = net.encode()
    export_c(data, tmp_path, name="net")
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, 0.0, -0.0, 1e-40], np.float32)
    images = np.resize(values, (1, 5, 6, 3))
    engine = Engine(data, isa="plain")
    assert_same_bits(run_c(compiled(tmp_path), engine, images), engine.run(images))


def test_bytes_within_a_float_network(tmp_path: Path) -> None:
    """Two readers of the input, so that it stays float; a float layer behind integer ones."""
    net = Net((2, 3, 2), scale=[0.01] * 2, shift=[-1.0] * 2)
    net.quantize(0.05, 9, 0)
    shape = (2, 2, 1, 1)
    conv = net.int8_conv2d(integers(np.arange(-2, 2).reshape(shape)), scales(0.3, 0.1), [0, 0], activation=RELU)
    net.add_node("add", [conv, 0], [NONE])
    net.add_node("dequantize", net.quantize(0.01, 128))
    net.add_node("global_avg_pool")
    assert_runs_as_the_engine(tmp_path, net.encode())
    assert "net_run_fixed" not in (tmp_path / "net.h").read_text()


def test_arm_gives_the_same_bits(tmp_path: Path) -> None:
    by_hand = [everything(np.random.default_rng(0)), pooled_rows(0)]
    for seed in range(6):
        data = by_hand[seed].encode() if seed < 2 else packed(quantized(random_network(seed), seed))
        folder = tmp_path / str(seed)
        export_c(data, folder, name="net")
        engine = Engine(data, isa="plain")
        images = images_for(engine, seed)
        found = np.frombuffer(run_on_arm(folder, images, *STRICT, "-O2", "-Wno-error=pragmas"), np.float32)
        assert_same_bits(found, engine.run(images))


# -- without floats --------------------------------------------------------------------------------------------


def integer_networks(count: int) -> list[bytes]:
    """Networks that are integer throughout, some with a soft-max."""
    found = [everything(np.random.default_rng(0)), sparse_ends(0), float_image(0)]
    for seed in range(count):
        options = Int8(weights="channel" if seed % 2 else "tensor", bias_correction=False)
        data = packed(quantized(random_network(seed), seed, options))
        ops = [layer["op"] for layer in Engine(data).layers]
        if not {"conv2d", "linear", "add", "affine", "avg_pool", "global_avg_pool"} & set(ops):
            found.append(data)
    return [net if isinstance(net, bytes) else net.encode() for net in found]


def test_the_integer_entry_needs_no_floating_point_unit(tmp_path: Path) -> None:
    """The compiler refuses every use of a float type there; with floats it does refuse, or the test would show nothing."""
    found = 0
    for number, data in enumerate(integer_networks(15)):
        folder = tmp_path / str(number)
        export_c(data, folder, name="net")
        if "net_run_fixed" not in (folder / "net.h").read_text():
            continue
        found += 1
        options = (*STRICT, "-O2", "-mgeneral-regs-only", "-c", "net.c")
        cc(folder, "-DNET_NO_FLOAT", *options, compiler="aarch64-linux-gnu-gcc")
        listed = subprocess.run(["nm", "-g", "net.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert re.findall(r" T (\w+)", listed) == ["net_run_fixed"]
        refused = subprocess.run(["aarch64-linux-gnu-gcc", *options], cwd=folder, capture_output=True, text=True)
        assert refused.returncode != 0 and "-mgeneral-regs-only" in refused.stderr
    assert found >= 8


def test_fixed_point_outputs_are_the_floats_to_a_unit(tmp_path: Path) -> None:
    softmaxes = 0
    for number, data in enumerate(integer_networks(15)):
        folder = tmp_path / str(number)
        export_c(data, folder, name="net")
        header = (folder / "net.h").read_text()
        bits = re.search(r"FRACTION_BITS (-?\d+)", header)
        if bits is None:
            continue
        engine = Engine(data, isa="plain")
        library, images = compiled(folder), images_for(engine, number)
        found = fixed_outputs(library, engine, images, int(bits[1]))
        wanted = engine.run(images).reshape(found.shape).astype(np.float64)
        if "before the soft-max" in header:
            softmaxes += 1
            exponentials = np.exp(found - found.max(1, keepdims=True))
            np.testing.assert_allclose(exponentials / exponentials.sum(1, keepdims=True), wanted, rtol=1e-4, atol=1e-7)
        else:
            # The float itself is a product of two rounded factors, rounded.
            assert (np.abs(found - wanted) <= 2.0 ** -int(bits[1]) + np.abs(wanted) * 2.0**-22).all()
    assert softmaxes


def test_fixed_point_worked_by_hand(tmp_path: Path) -> None:
    """Scales of 0.5 and 0.25 for sums of 10·2 and 10·3."""
    net = Net((1, 1, 1))
    net.quantize(1.0, 0)
    net.int8_linear(integers(np.array([[2], [3]])), scales(0.5, 0.25), [0, 0])
    export_c(net.encode(), tmp_path, name="net")
    # 255·2·0.5 = 255 is the larger of both: below 2⁸, which leaves 22 bits of 30
    assert "NET_FRACTION_BITS 22" in (tmp_path / "net.h").read_text()
    image = np.array([[[[10]]]], np.uint8)
    found = fixed_outputs(compiled(tmp_path), Engine(net.encode()), image, 22)
    assert found.tolist() == [[10.0, 7.5]]


def test_the_tables_of_equal_channels_are_one(tmp_path: Path) -> None:
    sizes = []
    for folder, shifts in (("one", [-1.0, -1.0]), ("two", [-1.0, -1.5])):
        net = Net((2, 2, 2), scale=[0.01, 0.01], shift=shifts)
        net.add_node("dequantize", net.quantize(0.02, 128))
        sizes.append(assert_runs_as_the_engine(tmp_path / folder, net.encode()).weight_bytes)
    assert sizes[1] - sizes[0] == 256


# -- bytes -----------------------------------------------------------------------------------------------------


def lenet5(*, integer: bool) -> bytes:
    torch.manual_seed(0)
    network = trace(zoo.build("lenet5", (1, 28, 28), 10), (1, 28, 28))
    return packed(quantized(network, 0, Int8(bias_correction=False)) if integer else network)


def test_lenet5_takes_a_byte_for_a_weight_and_for_a_value(tmp_path: Path) -> None:
    dense = export_c(lenet5(integer=False), tmp_path / "float", name="net")
    small = export_c(lenet5(integer=True), tmp_path / "int8", name="net")
    assert small.weight_bytes < dense.weight_bytes / 4 + 6_000, "5 to 9 bytes for each channel beside the weights"
    assert small.arena_bytes <= dense.arena_bytes / 4
    cc(tmp_path / "int8", *STRICT, "-O2", "-fno-pic", "-c", "net.c")
    listed = subprocess.run(["size", "-A", "net.o"], cwd=tmp_path / "int8", capture_output=True, text=True, check=True)
    found = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", listed.stdout, re.MULTILINE)}
    assert found[".bss"] == small.arena_bytes
    assert found[".text"] < 8_000
    assert found[".rodata"] <= small.weight_bytes + 1_000
