"""What the Python class Engine takes, gives and refuses."""

import gc
import json
import sys

import numpy as np
import pytest

from camfit import _native
from engine.run import ISAS, MODES
from engine.test_forms import codebook, random_index
from engine.writer import Net, dense, half, hashed, sign


def make_net(info: bytes = b"{}") -> Net:
    rng = np.random.default_rng(0)
    net = Net((6, 5, 2), scale=[0.1, 0.2], shift=[0.0, 1.0], info=info)
    net.conv2d(dense(rng.normal(size=(4, 2, 3, 3))), bias=half(np.zeros(4)))
    net.add_node("flatten")
    index = random_index(rng, (7, 48), 8, 0.1)
    net.linear(codebook(index, rng.normal(size=8)))
    return net


@pytest.fixture
def engine() -> _native.Engine:
    return _native.Engine(make_net().encode())


IMAGES = np.random.default_rng(2).integers(0, 256, (3, 6, 5, 2), dtype=np.uint8)


def test_shapes_and_text() -> None:
    info = json.dumps({"model": "tëst"}, ensure_ascii=False)
    engine = _native.Engine(make_net(info.encode()).encode())
    assert engine.info == info
    assert engine.input_shape == (6, 5, 2)
    assert engine.output_shape == (1, 1, 7)
    assert engine.isa == ISAS[-1]
    image_net = Net((3, 2, 1))
    image_net.pool("max_pool", (2, 1))
    assert _native.Engine(image_net.encode()).output_shape == (2, 2, 1)


@pytest.mark.parametrize("isa", ["plain", "avx2", "avx512", "neon"])
def test_a_forced_instruction_set_is_used_or_refused(isa: str) -> None:
    data = make_net().encode()
    if isa in ISAS:
        assert _native.Engine(data, isa=isa).isa == isa
    else:
        with pytest.raises(ValueError, match="was asked for, but this processor or build lacks"):
            _native.Engine(data, isa=isa)


def test_a_batch_is_its_images_one_by_one(engine: _native.Engine) -> None:
    batch = engine.run(IMAGES)
    assert batch.dtype == np.float32
    assert batch.shape == (3, 7)
    for image, row in zip(IMAGES, batch, strict=True):
        np.testing.assert_array_equal(engine.run(image), row)


def test_images_out(engine: _native.Engine) -> None:
    net = Net((3, 2, 1))
    net.pool("max_pool", (2, 1))
    image = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    small = _native.Engine(net.encode())
    np.testing.assert_array_equal(small.run(image), [[[2], [3]], [[4], [5]]])
    assert small.run(image[None]).shape == (1, 2, 2, 1)


def test_bytes_and_floats_give_the_same(engine: _native.Engine) -> None:
    np.testing.assert_array_equal(engine.run(IMAGES), engine.run(IMAGES.astype(np.float32)))


def test_arrays_in_any_memory_order(engine: _native.Engine) -> None:
    wanted = engine.run(IMAGES)
    np.testing.assert_array_equal(engine.run(np.asfortranarray(IMAGES)), wanted)
    np.testing.assert_array_equal(engine.run(np.repeat(IMAGES, 2, axis=2)[:, :, ::2]), wanted)
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(engine.run(frozen), wanted)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGES[0, :5], r"image: shape \(5, 5, 2\), expected \(6, 5, 2\) or \(N, 6, 5, 2\)"),
        (IMAGES[..., :1], r"image: shape \(3, 6, 5, 1\)"),
        (IMAGES[0, 0, 0], r"image: shape \(2,\)"),
        (IMAGES[:0], r"image: shape \(0, 6, 5, 2\)"),
        (IMAGES[None], r"image: shape \(1, 3, 6, 5, 2\)"),
        (IMAGES.astype(np.float64), "image: expected values of type uint8 or float32"),
        (IMAGES.astype(np.int8), "image: expected values of type uint8 or float32"),
    ],
)
def test_wrong_images(engine: _native.Engine, image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.run(image)
    with pytest.raises(ValueError, match=message):
        engine.time_runs(image, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": 0}, "threads: expected 1 or more"),
        ({"threads": 65}, "threads: expected 1 to 64"),
        ({"mode": "fast"}, "mode: 'fast', expected 'speed' or 'memory'"),
        ({"isa": "sse"}, "isa: 'sse', expected 'auto', 'plain', 'avx2', 'avx512' or 'neon'"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        _native.Engine(make_net().encode(), **arguments)
    assert caught.type is ValueError


def test_refusals_are_value_errors() -> None:
    for refusal in _native.FileMalformed, _native.FileUnsupported, _native.OutOfMemory:
        assert issubclass(refusal, ValueError)
    with pytest.raises(_native.FileMalformed, match=r"not a \.camfit file"):
        _native.Engine(b"")


def test_layers_say_what_they_store_and_compute() -> None:
    engine = _native.Engine(make_net().encode())
    conv, flatten, linear = engine.layers
    names = ["conv2d0", "flatten1", "linear2"]
    assert [layer["name"] for layer in engine.layers] == names
    assert (conv["op"], conv["form"], conv["stored_bytes"]) == ("conv2d", "dense", 4 * 72 + 2 * 4)
    assert (conv["params"], conv["macs"]) == (72 + 4, 72 * 4 * 3)
    assert (flatten["form"], flatten["params"], flatten["macs"], flatten["stored_bytes"]) == ("", 0, 0, 0)
    nonzeros = int((random_index_of_linear() >= 0).sum())
    assert (linear["form"], linear["params"], linear["macs"]) == ("codebook", nonzeros, nonzeros)


def random_index_of_linear() -> np.ndarray:
    rng = np.random.default_rng(0)
    rng.normal(size=(4, 2, 3, 3))
    return random_index(rng, (7, 48), 8, 0.1)


def test_profile_times_layers_only_when_on(engine: _native.Engine) -> None:
    engine.run(IMAGES)
    assert [layer["ns"] for layer in engine.layers] == [0, 0, 0]
    engine.profile(True)
    engine.run(IMAGES)
    times = [layer["ns"] for layer in engine.layers]
    assert times[0] > 0
    assert times[2] > 0
    engine.profile(False)
    engine.run(IMAGES)
    assert [layer["ns"] for layer in engine.layers] == times


def test_time_runs(engine: _native.Engine) -> None:
    times = engine.time_runs(IMAGES, 20)
    assert times.dtype == np.int64
    assert times.shape == (20,)
    assert (times > 0).all()
    assert engine.time_runs(IMAGES[0], 0).shape == (0,)


def test_memory_adds_up_and_mode_memory_holds_less() -> None:
    rng = np.random.default_rng(0)
    net = Net((8, 8, 64))
    index = random_index(rng, (64, 64, 3, 3), 16, 0.1)
    net.conv2d(codebook(index, rng.normal(size=16)))
    net.conv2d(hashed((64, 64, 3, 3), 0, rng.normal(size=100)))
    net.conv2d(sign(rng.random(64), rng.normal(size=(64, 64, 3, 3))))
    data = net.encode()
    speed, memory = (_native.Engine(data, 1, mode).memory for mode in MODES)
    for use in speed, memory:
        parts = use["weights_bytes"] + use["arena_bytes"] + use["scratch_bytes"]
        assert parts < use["total_bytes"] < parts + 20_000
        assert use["load_peak_bytes"] >= use["total_bytes"]
    # The plain set holds panels of 16 channels: of the signs whole, of the codebook without the columns that are zero for
    # all 16, each with its offset; and the buckets.
    panels, taps = 4 * 64 * 64 * 9, 8 * int((index >= 0).sum())
    columns = int((index >= 0).reshape(4, 16, -1).any(axis=1).sum())
    direct = _native.Engine(data, 1, "speed", "plain").memory["weights_bytes"]
    expected = panels + (4 * 16 + 4) * columns
    assert expected < direct < expected + 4000
    if len(ISAS) > 1:  # a value and an offset of each non-zero; by Winograd's way 16 values for each 3x3 kernel
        transformed = panels // 9 * 16
        assert transformed + taps < speed["weights_bytes"] < transformed + taps + 4000
    # 4 bytes a non-zero, the buckets, one bit a sign.
    assert memory["weights_bytes"] < 4 * (index >= 0).sum() + 4 * 65 + 4 * 116 + 64 * 64 * 9 / 8 + 4 * 64 + 2000
    # A second thread needs its own work space and nothing else.
    two = _native.Engine(data, 2).memory
    assert two["scratch_bytes"] == 2 * speed["scratch_bytes"]
    assert two["weights_bytes"] == speed["weights_bytes"]


def test_activations_share_memory() -> None:
    """A chain needs room for two values at a time, in-place layers for none more, however long it is."""
    net = Net((16, 16, 4))
    for _ in range(10):
        net.pool("max_pool", (3, 3), pad=(1, 1, 1, 1))
        net.add_node("activation", attributes=[1])
        net.add_node("affine", attributes=[0], weights=[None, dense(np.ones(4, np.float32))])
    assert _native.Engine(net.encode()).memory["arena_bytes"] == 2 * 16 * 16 * 4 * 4


def test_results_outlive_the_engine() -> None:
    engine = _native.Engine(make_net().encode())
    output = engine.run(IMAGES)
    wanted = output.copy()
    assert sys.getrefcount(engine) == 2
    del engine
    gc.collect()
    np.testing.assert_array_equal(output, wanted)
