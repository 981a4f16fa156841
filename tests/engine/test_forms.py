"""The forms of weights: each gives what the same values give in form dense, in both modes and with every kernel set."""

import itertools
import struct

import numpy as np
import pytest
import xxhash

from camfit import _native
from engine.run import ISAS, MODES, outputs
from engine.writer import CODEBOOK, RELU, SPARSE, Net, Weight, bits_payload, dense, fast_payload, half, hashed, sign

VARIANTS = list(itertools.product(ISAS, MODES, [1, 2]))


def codebook(index: np.ndarray, values: np.ndarray, coder: str = "range") -> Weight:
    """index: int32 of the weight's shape, -1 where the weight is pruned. coder: one of the encoder's, or this folder's
    `writer` or `fast writer`."""
    if coder == "writer":
        return Weight(CODEBOOK, index.shape, bits_payload(index, values))
    if coder == "fast writer":
        return Weight(CODEBOOK, index.shape, fast_payload(index, values))
    payload, _ = _native.encode_codebook(index.reshape(len(index), -1), values.astype(np.float32), coder)
    return Weight(CODEBOOK, index.shape, payload)


def sparse(values: np.ndarray) -> Weight:
    index = np.where(values != 0, 0, -1).astype(np.int32)
    positions, _ = _native.encode_codebook(index.reshape(len(index), -1), np.ones(1, np.float32))
    data = struct.pack("<I", len(positions)) + positions + values[values != 0].astype("<f4").tobytes()
    return Weight(SPARSE, values.shape, data)


def hash_values(shape: tuple[int, ...], seed: int, buckets: np.ndarray, one_hash: bool) -> np.ndarray:
    """The matrix that docs/format.md describes, through the package xxhash."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    out = np.empty((rows, columns), np.float32)
    for i, j in itertools.product(range(rows), range(columns)):
        key = struct.pack("<II", i, j)
        place = xxhash.xxh32_intdigest(key, seed) * len(buckets) >> 32
        positive = xxhash.xxh32_intdigest(key, seed if one_hash else (seed + 1) % 2**32) & 1
        out[i, j] = buckets[place] if positive else -buckets[place]
    return out.reshape(shape)


def random_index(rng: np.random.Generator, shape: tuple[int, ...], entries: int, density: float) -> np.ndarray:
    index = rng.integers(0, entries, shape, dtype=np.int32)
    return np.where(rng.random(shape) < density, index, -1).astype(np.int32)


def index_values(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(index < 0, 0, values[index]).astype(np.float32)


def conv_net(weight: Weight, groups: int = 1) -> Net:
    cout, cin_group, _, _ = weight.shape
    channels = cin_group * groups
    net = Net((9, 7, channels), scale=[0.01] * channels, shift=[-1.0] * channels, version=3)
    net.conv2d(
        weight, stride=(1, 2), pad=(1, 0, 2, 1), groups=groups, activation=RELU, bias=half(np.linspace(-1, 1, cout))
    )
    return net


def linear_net(weight: Weight) -> Net:
    cout, cin = weight.shape
    net = Net((1, 1, cin), scale=[0.01] * cin, shift=[-1.0] * cin, version=3)
    net.linear(weight, scale=dense(np.linspace(0.5, 2, cout)), bias=dense(np.linspace(-1, 1, cout)))
    return net


def check_equal(make_net, weight: Weight, values: np.ndarray) -> None:
    """`make_net` around `weight` computes what it computes around the same values in form dense."""
    reference = make_net(dense(values))
    image = np.random.default_rng(1).integers(0, 256, reference.shape, dtype=np.uint8)
    wanted = outputs(reference, image, isa="plain")
    assert np.abs(wanted).max() > 0.1
    for isa, mode, threads in VARIANTS:
        given = outputs(make_net(weight), image, threads, mode, isa)
        np.testing.assert_allclose(given, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max(), err_msg=f"{isa} {mode}")


CONV_SHAPES = [((20, 3, 3, 2), 1), ((34, 2, 1, 1), 2), ((6, 1, 3, 3), 6)]  # the last one is depthwise
LINEAR_SHAPES = [(5, 40), (33, 17), (1, 1)]


@pytest.mark.parametrize(("shape", "groups"), CONV_SHAPES)
@pytest.mark.parametrize("density", [0.6, 1.0])
@pytest.mark.parametrize("coder", ["range", "fast", "huffman", "bits", "writer", "fast writer"])
def test_codebook_conv(shape: tuple[int, ...], groups: int, coder: str, density: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=9).astype(np.float32)
    index = random_index(rng, shape, 9, density)
    check_equal(lambda w: conv_net(w, groups), codebook(index, values, coder), index_values(index, values))


@pytest.mark.parametrize("shape", LINEAR_SHAPES)
@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("coder", "entries"), [("range", 5), ("fast", 5), ("fast", 40)])
def test_codebook_linear(shape: tuple[int, int], density: float, coder: str, entries: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=entries).astype(np.float32)
    index = random_index(rng, shape, entries, density)
    index[0, 0] = 0
    check_equal(linear_net, codebook(index, values, coder), index_values(index, values))


@pytest.mark.parametrize(("shape", "groups"), CONV_SHAPES)
def test_sparse_conv(shape: tuple[int, ...], groups: int) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * (rng.random(shape) < 0.4)).astype(np.float32)
    check_equal(lambda w: conv_net(w, groups), sparse(values), values)


@pytest.mark.parametrize("shape", [*LINEAR_SHAPES, (3, 5000)])
@pytest.mark.parametrize("density", [0.05, 0.5, 0.9])
def test_sparse_linear(shape: tuple[int, int], density: float) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * (rng.random(shape) < density)).astype(np.float32)
    values[0, 0] = 1
    check_equal(linear_net, sparse(values), values)


@pytest.mark.parametrize("entries", [9, 16, 31, 200])
@pytest.mark.parametrize("block", [1, 8])
@pytest.mark.parametrize("shape", [(90, 5000), (64, 45000)])
def test_linear_of_a_tenth_of_its_weights(shape: tuple[int, int], block: int, entries: int) -> None:
    """Large enough that it runs regrouped: as tiles or chunks, where rows share their columns as blocks."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=entries).astype(np.float32)
    kept = rng.random((-(-shape[0] // block), shape[1])).repeat(block, 0)[: shape[0]] < 0.1
    index = np.where(kept, rng.integers(0, entries, shape, dtype=np.int32), -1).astype(np.int32)
    check_equal(linear_net, codebook(index, values), index_values(index, values))


@pytest.mark.parametrize("density", [0.02, 0.1])
@pytest.mark.parametrize("shape", [(40, 70, 3, 3), (17, 130, 1, 1), (12, 3, 5, 4)])
def test_convolution_of_few_of_its_weights(shape: tuple[int, ...], density: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=9).astype(np.float32)
    index = random_index(rng, shape, 9, density)
    check_equal(conv_net, codebook(index, values), index_values(index, values))
    check_equal(conv_net, sparse(index_values(index, values)), index_values(index, values))


def test_rows_of_more_columns_and_entries_than_16_bits_count() -> None:
    rng = np.random.default_rng(0)
    shape = (2, 70000)
    values = rng.normal(size=3).astype(np.float32)
    few, many = random_index(rng, shape, 3, 0.01), random_index(rng, shape, 3, 0.97)
    few[0, -1] = 2
    for index in few, many:
        check_equal(linear_net, codebook(index, values), index_values(index, values))
        check_equal(linear_net, sparse(index_values(index, values)), index_values(index, values))


@pytest.mark.parametrize(("shape", "groups"), CONV_SHAPES)
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
@pytest.mark.parametrize("one_hash", [True, False])
def test_hashed_conv(shape: tuple[int, ...], groups: int, seed: int, one_hash: bool) -> None:
    buckets = np.random.default_rng(0).normal(size=11).astype(np.float32)
    weight = hashed(shape, seed, buckets, one_hash=one_hash)
    check_equal(lambda w: conv_net(w, groups), weight, hash_values(shape, seed, buckets, one_hash))


@pytest.mark.parametrize("shape", [*LINEAR_SHAPES, (3, 700)])
@pytest.mark.parametrize("one_hash", [True, False])
def test_hashed_linear(shape: tuple[int, int], one_hash: bool) -> None:
    buckets = np.random.default_rng(0).normal(size=11).astype(np.float32)
    weight = hashed(shape, 3, buckets, one_hash=one_hash)
    check_equal(linear_net, weight, hash_values(shape, 3, buckets, one_hash))


@pytest.mark.parametrize(("shape", "groups"), CONV_SHAPES)
def test_sign_conv_on_float_activations(shape: tuple[int, ...], groups: int) -> None:
    rng = np.random.default_rng(0)
    alpha, signs = rng.random(shape[0]).astype(np.float32), rng.normal(size=shape)
    values = alpha[:, None, None, None] * np.where(signs >= 0, 1, -1).astype(np.float32)
    check_equal(lambda w: conv_net(w, groups), sign(alpha, signs), values)


def test_sign_linear_on_float_activations() -> None:
    rng = np.random.default_rng(0)
    alpha, signs = rng.random(19).astype(np.float32), rng.normal(size=(19, 23))
    check_equal(linear_net, sign(alpha, signs), alpha[:, None] * np.where(signs >= 0, 1, -1).astype(np.float32))


def test_half_vectors_are_read_exactly() -> None:
    values = np.array([0, -0.0, 1, -2.5, 65504, 2**-14, 2**-24, -3 * 2**-24, 1023 * 2**-24, 1 / 3], np.float16)
    net = Net((1, 1, len(values)))
    net.add_node("affine", attributes=[0], weights=[None, half(values)])
    given = outputs(net, np.zeros(net.shape, np.float32), isa="plain")
    np.testing.assert_array_equal(given, values.astype(np.float32))


def test_binary_conv_agrees_with_float_arithmetic() -> None:
    rng = np.random.default_rng(0)
    for channels in 1, 63, 64, 65, 130:
        alpha, signs = rng.random(5).astype(np.float32), rng.normal(size=(5, channels, 3, 3))
        values = alpha[:, None, None, None] * np.where(signs >= 0, 1, -1)
        image = rng.normal(size=(6, 5, channels)).astype(np.float32)
        image[0, 0, 0] = 0
        binary, plain = Net(image.shape), Net(image.shape)
        binary.conv2d(sign(alpha, signs), pad=(1, 1, 1, 1), stride=(2, 1), scale_input=False)
        plain.conv2d(dense(values), pad=(1, 1, 1, 1), stride=(2, 1))
        wanted = outputs(plain, np.where(image >= 0, 1, -1).astype(np.float32), isa="plain")
        for isa, mode, threads in VARIANTS:
            np.testing.assert_allclose(outputs(binary, image, threads, mode, isa), wanted, rtol=1e-5, atol=1e-4)


def test_one_weight_used_by_two_layers() -> None:
    weight = dense(np.eye(3, dtype=np.float32) * 2)
    net = Net((1, 1, 3))
    net.linear(weight)
    net.linear(weight)
    np.testing.assert_array_equal(outputs(net, np.array([[[1, 2, 3]]], np.float32)), [4, 8, 12])
