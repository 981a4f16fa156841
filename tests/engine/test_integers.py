"""Integer layers: outputs worked out by hand, what is refused, and that no set, thread or way in changes a byte."""

import numpy as np
import pytest

from camfit import _native
from engine.run import ISAS, outputs, refusal
from engine.writer import CODEBOOK, NONE, RELU, RELU6, Net, Weight, dense, fast_payload, half, integers, level

VALUES = np.array([[[-3.0], [0.26], [0.24], [100.0]]], np.float32).reshape(1, 4, 1)


def scales(*values: float) -> Weight:
    return dense(np.array(values, np.float32))


def dequantized(net: Net) -> Net:
    net.add_node("dequantize")
    return net


@pytest.mark.parametrize("isa", ISAS)
def test_quantize_rounds_halves_up_and_stays_within_bytes(isa: str) -> None:
    net = Net((1, 4, 1))
    net.quantize(0.5, 2)
    # -6 + 2 < 0; 0.52 -> 1 + 2; 0.48 -> 0 + 2; 200 + 2; then scale·(q − z)
    np.testing.assert_array_equal(outputs(dequantized(net), VALUES, isa=isa), [[[-1.0], [0.5], [0.0], [100.0]]])


@pytest.mark.parametrize("isa", ISAS)
def test_a_convolution_by_hand(isa: str) -> None:
    """Bytes 1, 2, 3 of step 1 and zero point 0, weights (2, -1) of scale 0.5 beside each other, padding to the right."""
    net = Net((1, 3, 1))
    net.quantize(1.0, 0)
    weight = integers(np.array([2, -1]).reshape(1, 1, 1, 2))
    net.int8_conv2d(weight, scales(0.5), level(0.25, 10), pad=(0, 0, 0, 1), bias=half(np.array([0.5])), activation=RELU)
    # sums 0, 1, 6 and the bias of 0.5 / 0.5 = 1: real 0.5, 1, 3.5; in steps of 0.25 from 10: 12, 14, 24
    given = np.array([[[1], [2], [3]]], np.uint8)
    np.testing.assert_array_equal(outputs(dequantized(net), given, isa=isa), [[[0.5], [1.0], [3.5]]])


@pytest.mark.parametrize("isa", ISAS)
def test_a_linear_layer_gives_floats_where_no_scale_follows(isa: str) -> None:
    net = Net((1, 1, 3))
    net.quantize(0.1, 100)
    net.int8_linear(integers(np.array([[1, 0, -2], [127, 127, 127]])), scales(0.5, 0.01), [0, 0], activation=RELU6)
    # x = 1, 2, -3 in steps of 0.1: 10, 20, -30. (10 + 60)·0.05 = 3.5; 127·0 = 0
    given = np.array([1, 2, -3], np.float32).reshape(1, 1, 3)
    np.testing.assert_allclose(outputs(net, given, isa=isa), [3.5, 0], rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_sums_means_and_activations_by_hand(isa: str) -> None:
    net = Net((1, 2, 1))
    first = net.quantize(0.5, 4, 0)
    second = net.quantize(0.25, 8, 0)
    net.add_node("int8_add", [first, second], [NONE, *level(1.0, 20)])
    # x = 3, -1: 6 and 12 steps, -2 and -4: real 6, -2 -> 26, 18
    given = np.array([[[3], [-1]]], np.float32)
    np.testing.assert_array_equal(outputs(dequantized(net), given, isa=isa), [[[6.0], [-2.0]]])
    net.nodes.pop()
    net.add_node("activation", None, [RELU])
    np.testing.assert_array_equal(outputs(dequantized(net), given, isa=isa), [[[6.0], [0.0]]])
    net.nodes.pop()
    net.add_node("activation", None, [RELU6])
    np.testing.assert_array_equal(outputs(dequantized(net), given, isa=isa), [[[6.0], [0.0]]])
    net.nodes.pop()
    net.add_node("int8_global_avg_pool", None, level(0.5, 0))
    np.testing.assert_array_equal(outputs(dequantized(net), given, isa=isa), [3.0])


def everything(rng: np.random.Generator) -> Net:
    """A residual network of every integer op, with full-range weights."""
    net = Net((9, 7, 3), scale=[0.01, 0.02, 0.03], shift=[-1.0, -1.5, 0.5])

    def weight(*shape: int) -> Weight:
        return integers(rng.integers(-127, 128, shape))

    net.quantize(0.05, 60)
    stem = net.int8_conv2d(
        weight(20, 3, 3, 3), scales(*[0.002] * 20), level(0.04, 0), pad=(1, 1, 1, 1), activation=RELU
    )
    net.int8_conv2d(weight(20, 1, 3, 3), scales(*[0.001] * 20), level(0.05, 128), pad=(1, 1, 1, 1), groups=20)
    branch = net.int8_conv2d(weight(20, 10, 1, 1), scales(*rng.uniform(1e-4, 1e-2, 20)), level(0.02, 3), groups=2)
    net.add_node("int8_add", [stem, branch], [RELU, *level(0.05, 0)])
    net.pool("max_pool", (3, 2), stride=(2, 2), pad=(1, 0, 1, 0))
    net.add_node("channel_shuffle", None, [4])
    pooled = net.pool("avg_pool", (2, 2), pad=(1, 1, 0, 0), count_include_pad=False)
    both = net.add_node("concat", [pooled, pooled])
    net.add_node("depth_to_space", both, [2, 1, 1, 0, 0, 0])
    part = net.add_node("slice", None, [3, 17])
    net.add_node("concat", [part, net.add_node("slice", part, [0, 3])])
    net.add_node("concat", [len(net.nodes), len(net.nodes)])
    mean = net.add_node("int8_global_avg_pool", None, level(0.02, 5))
    net.int8_linear(weight(50, 40), scales(*[0.003] * 50), level(0.03, 0), inputs=mean, activation=RELU)
    net.int8_linear(weight(11, 50), scales(*[0.003] * 11), [0, 0], bias=dense(rng.normal(size=11)))
    return net


def test_no_set_thread_or_mode_changes_a_bit() -> None:
    rng = np.random.default_rng(0)
    data = everything(rng).encode()
    image = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    expected = outputs(data, image, isa="plain")
    assert len(np.unique(expected)) > 3
    for isa in ISAS:
        for threads in (1, 2):
            for mode in ("speed", "memory"):
                np.testing.assert_array_equal(outputs(data, image, threads, mode, isa), expected)


def test_the_fast_coder_changes_no_bit() -> None:
    """Weights without positions become bytes on their way to the kernels, those of the other coders rows."""

    def recoded(net: Net, coder: str) -> bytes:
        net.version = 2
        for weight in (node.weights[0] for node in net.nodes if node.op in (17, 18)):
            assert weight is not None
            index, values = _native.decode_codebook(weight.payload, weight.shape[0], int(np.prod(weight.shape[1:])))
            if coder == "full":  # zeros get a code too
                values, index = np.append(values, np.float32(0)), np.where(index < 0, len(values), index)
                weight.payload = fast_payload(index, values)
            elif coder == "writer":
                weight.payload = fast_payload(index, values)
            else:
                weight.payload, _ = _native.encode_codebook(index, values, coder)
        return net.encode()

    image = np.random.default_rng(3).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    expected = outputs(everything(np.random.default_rng(0)), image)
    for coder in ("range", "fast", "writer", "full"):
        data = recoded(everything(np.random.default_rng(0)), coder)
        for isa in ISAS:
            np.testing.assert_array_equal(outputs(data, image, isa=isa), expected)
    wrong = Weight(CODEBOOK, (2, 2), fast_payload(np.zeros((2, 2), int), np.array([0.5])))
    net = small(weight=wrong)
    net.version = 2
    assert "a codebook value is 0.5, expected an integer" in refusal(net.encode())


def test_an_image_of_bytes_and_the_same_of_floats_give_the_same_bits() -> None:
    """Bytes go through a table, floats through the normalisation; a second reader of the input rules the table out."""
    rng = np.random.default_rng(1)
    net = everything(rng)
    data, image = net.encode(), rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for isa in ISAS:
        np.testing.assert_array_equal(outputs(data, image, isa=isa), outputs(data, image.astype(np.float32), isa=isa))
    for readers in (1, 2):
        other = Net((2, 2, 1), scale=[0.1], shift=[-3.0])
        first = other.quantize(0.2, 9, 0)
        other.add_node("dequantize", first)
        if readers == 2:
            other.add_node("add", [other.quantize(0.1, 9, 0) - 1, 0], [NONE])
        given = np.array([[0, 255], [31, 30]], np.uint8)[..., None]
        np.testing.assert_array_equal(outputs(other, given), outputs(other, given.astype(np.float32)))


def small(**changes: object) -> Net:
    """A quantize and a linear layer of two inputs, with one thing changed."""
    given = {
        "weight": integers(np.array([[1, 2], [3, 4]])),
        "scale": scales(0.5, 0.5),
        "out": level(0.1, 0),
        "bias": None,
        "input": level(0.1, 0),
    } | changes
    net = Net((1, 1, 2))
    net.add_node("quantize", 0, given["input"])
    net.int8_linear(given["weight"], given["scale"], given["out"], bias=given["bias"])
    return dequantized(net)


LINEAR, BLOB = "FileMalformed: NODE: node 1 'int8_linear1' (int8_linear): ", "BLOB: weights of node 1 'int8_linear1': "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": level(float("nan"), 0)}, "node 0 'quantize0' (quantize): its scale is nan, expected 1e-18 to 1e+18"),
        ({"input": level(-0.1, 0)}, "(quantize): its scale is -0.1, expected"),
        ({"input": [0, 0]}, "(quantize): its scale is 0, expected"),
        ({"input": level(0.1, 256)}, "(quantize): its zero point is 256, expected 0 to 255"),
        ({"out": [0, 3]}, LINEAR + "its zero point is 3, expected 0"),
        ({"weight": dense(np.ones((2, 2)))}, LINEAR + "its weight has form dense, expected codebook"),
        ({"weight": integers(np.array([[1.5, 1], [1, 1]]))}, BLOB + "a codebook value is 1.5, expected an integer"),
        ({"weight": integers(np.array([[-128, 1], [1, 1]]))}, BLOB + "a codebook value is -128, expected an integer"),
        ({"scale": None}, LINEAR + "it has no scale"),
        ({"scale": scales(0.5, 0.0)}, BLOB + "the scale of output 1 is 0, expected more than 0"),
        ({"bias": scales(0, 1e9)}, BLOB + "the sums of output 1 reach"),
        ({"out": level(1e-17, 0)}, BLOB + "output 0 reaches"),
    ],
)
def test_what_is_refused(changes: dict[str, object], message: str) -> None:
    assert message in refusal(small(**changes).encode())


def test_bytes_and_floats_are_not_mixed() -> None:
    net = Net((1, 1, 2))
    net.int8_linear(integers(np.ones((2, 2))), scales(1, 1), [0, 0])
    assert "(int8_linear): its input 0 is float32, expected bytes" in refusal(net.encode())
    net = Net((1, 1, 2))
    net.quantize(1.0, 0)
    net.add_node("softmax")
    assert "(softmax): its input 0 is bytes, expected float32" in refusal(net.encode())
    net = Net((1, 1, 2))
    net.add_node("concat", [0, net.quantize(1.0, 0)])
    assert "(concat): its input 1 is bytes, expected float32" in refusal(net.encode())
    net = Net((1, 1, 2))
    net.add_node("concat", [net.quantize(1.0, 0, 0), net.quantize(1.0, 1, 0)])
    assert "its input 1 has another scale or zero point than the first one" in refusal(net.encode())
    net = Net((1, 1, 2))
    net.quantize(1.0, 0)
    assert refusal(net.encode()) == "FileMalformed: NODE: the output of the network is bytes, expected float32"


def test_every_truncation_and_flipped_byte_is_refused() -> None:
    data = small(bias=half(np.ones(2))).encode()
    for length in range(len(data)):
        with pytest.raises((_native.FileMalformed, _native.FileUnsupported)):
            _native.Engine(data[:length])
    for at in range(len(data)):
        with pytest.raises((_native.FileMalformed, _native.FileUnsupported)):
            _native.Engine(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
