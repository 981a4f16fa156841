"""Every op on a network of one or two nodes whose output was worked out by hand."""

import math

import numpy as np
import pytest

from engine.run import ISAS, outputs
from engine.writer import RELU, RELU6, Net, dense, sign

pytestmark = pytest.mark.parametrize("isa", ISAS)


def image(values: list) -> np.ndarray:
    """A float image from nested lists [H][W] (one channel) or [H][W][C]."""
    array = np.array(values, np.float32)
    return array[..., None] if array.ndim == 2 else array


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, -1)


def weights(values: list) -> np.ndarray:
    return np.array(values, np.float32)


def expect(net: Net, given: np.ndarray, wanted: list, isa: str) -> None:
    np.testing.assert_allclose(outputs(net, given, isa=isa), np.array(wanted, np.float32), rtol=1e-6, atol=1e-6)


def test_normalisation_of_bytes_and_floats(isa: str) -> None:
    net = Net((1, 1, 2), scale=[0.5, 2.0], shift=[-1.0, 3.0])
    net.add_node("concat", [0])
    expect(net, np.array([[[10, 20]]], np.uint8), [4.0, 43.0], isa)
    expect(net, vector(10, 20), [4.0, 43.0], isa)


def test_conv2d_with_stride_padding_scale_bias_and_relu6(isa: str) -> None:
    net = Net((3, 3, 1))
    kernel = weights([[[[1, 2], [3, 4]]], [[[0, 0], [0, -1]]]])
    net.conv2d(
        dense(kernel),
        stride=(2, 2),
        pad=(1, 1, 0, 0),
        activation=RELU6,
        scale=dense(weights([0.1, 1])),
        bias=dense(weights([0.5, 2.5])),
    )
    # Padded above and to the left, windows at (0, 0), (0, 2), (2, 0), (2, 2) of 4 x 4: sums 4·1, 3·2 + 4·3, 2·4 + 4·7
    # and 1·5 + 2·6 + 3·8 + 4·9 for the first kernel; minus the last pixel for the second.
    given = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    expect(net, given, [[[0.9, 1.5], [2.3, 0]], [[4.1, 0], [6.0, 0]]], isa)


def test_conv2d_with_dilation_and_uneven_kernel(isa: str) -> None:
    net = Net((1, 5, 2))
    # One output: x[0] of channel 0 at the left tap, 10·x[1] of channel 1 at the right tap, taps two apart.
    kernel = weights([[[[1, 0]], [[0, 10]]]])
    net.conv2d(dense(kernel), dilation=(1, 2))
    expect(net, image([[[1, -1], [2, -2], [3, -3], [4, -4], [5, -5]]]), [[[-29], [-38], [-47]]], isa)


def test_conv2d_in_groups(isa: str) -> None:
    net = Net((1, 1, 4))
    kernel = weights([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]).reshape(6, 2, 1, 1)
    net.conv2d(dense(kernel), groups=2)
    expect(net, vector(1, 10, 100, 1000), [21, 43, 65, 8700, 10900, 13100], isa)


def test_depthwise_conv2d(isa: str) -> None:
    net = Net((2, 2, 3))
    kernel = weights([[[1, 1], [1, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 2]]]).reshape(3, 1, 2, 2)
    net.conv2d(dense(kernel), groups=3, pad=(0, 0, 1, 0), bias=dense(weights([0, 1, 2])), activation=RELU)
    given = image([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [-10, 11, -12]]])
    expect(net, given, [[[2, 3, 0]], [[0, 9, 2]]], isa)


def test_linear(isa: str) -> None:
    net = Net((1, 1, 3))
    net.linear(dense(weights([[1, 2, 3], [-1, 0, 1]])), bias=dense(weights([10, -5])), activation=RELU)
    expect(net, vector(1, 2, 3), [24, 0], isa)


def test_max_pool_ignores_padding(isa: str) -> None:
    net = Net((3, 3, 1))
    net.pool("max_pool", (2, 2), stride=(2, 2), pad=(0, 0, 1, 1))
    given = image([[-1, -2, -3], [-4, -5, -6], [-7, -8, -9]])
    expect(net, given, [[[-1], [-3]], [[-7], [-9]]], isa)


@pytest.mark.parametrize(("count_include_pad", "corner"), [(True, 2.25), (False, 9.0)])
def test_avg_pool_counts_padding_or_not(isa: str, count_include_pad: bool, corner: float) -> None:
    net = Net((3, 3, 1))
    net.pool("avg_pool", (2, 2), stride=(2, 2), pad=(0, 0, 1, 1), count_include_pad=count_include_pad)
    given = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    right, below = (9 / 4, 15 / 4) if count_include_pad else (9 / 2, 15 / 2)
    expect(net, given, [[[3], [right]], [[below], [corner]]], isa)


def test_global_avg_pool(isa: str) -> None:
    net = Net((2, 2, 2))
    net.add_node("global_avg_pool")
    expect(net, image([[[1, 10], [2, 20]], [[3, 30], [6, 40]]]), [3, 25], isa)


def test_add_of_two_branches(isa: str) -> None:
    net = Net((1, 2, 1))
    left = net.conv2d(dense(weights([[[[2]]]])), inputs=0)
    right = net.conv2d(dense(weights([[[[-3]]]])), inputs=0)
    net.add_node("add", [left, right], [RELU])
    expect(net, image([[1, -2]]), [[[0], [2]]], isa)


def test_add_of_a_value_to_itself_and_to_the_input(isa: str) -> None:
    net = Net((1, 1, 2))
    twice = net.add_node("add", [0, 0], [0])
    net.add_node("add", [twice, 0], [0])
    expect(net, vector(1, -2), [3, -6], isa)


def test_concat_along_channels(isa: str) -> None:
    net = Net((1, 2, 1))
    two = net.conv2d(dense(weights([[[[2]]], [[[3]]]])), inputs=0)
    net.add_node("concat", [0, two, 0])
    expect(net, image([[1, 5]]), [[[1, 2, 3, 1], [5, 10, 15, 5]]], isa)


@pytest.mark.parametrize(("activation", "wanted"), [(RELU, [0, 3, 9]), (RELU6, [0, 3, 6])])
def test_activation(isa: str, activation: int, wanted: list) -> None:
    net = Net((1, 1, 3))
    net.add_node("activation", attributes=[activation])
    expect(net, vector(-1, 3, 9), wanted, isa)


def test_affine_with_and_without_its_vectors(isa: str) -> None:
    net = Net((1, 2, 2))
    net.add_node("affine", attributes=[RELU], weights=[dense(weights([2, -1])), dense(weights([1, 0.5]))])
    net.add_node("affine", attributes=[0], weights=[None, dense(weights([0, 100]))])
    net.add_node("affine", attributes=[0], weights=[dense(weights([10, 1])), None])
    expect(net, image([[[1, 2], [-3, -4]]]), [[[30, 100], [0, 104.5]]], isa)


def test_flatten_goes_channel_by_channel(isa: str) -> None:
    net = Net((2, 2, 2))
    net.add_node("flatten")
    expect(net, image([[[1, 10], [2, 20]], [[3, 30], [4, 40]]]), [1, 2, 3, 4, 10, 20, 30, 40], isa)


def test_flatten_that_moves_nothing_leaves_a_value_in_use_alone(isa: str) -> None:
    net = Net((1, 2, 1))
    flat = net.add_node("flatten", 0)
    negated = net.add_node("affine", flat, [0], [dense(weights([-1, -1])), None])
    again = net.add_node("flatten", 0)
    net.add_node("concat", [negated, again, flat])
    expect(net, image([[1, 2]]), [-1, -2, 1, 2, 1, 2], isa)


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [(1, [1, 2, 3, 4, 5, 6]), (2, [1, 4, 2, 5, 3, 6]), (3, [1, 3, 5, 2, 4, 6]), (6, [1, 2, 3, 4, 5, 6])],
)
def test_channel_shuffle_transposes_groups_and_places(isa: str, groups: int, wanted: list) -> None:
    net = Net((2, 1, 6))
    net.add_node("channel_shuffle", attributes=[groups])
    given = np.array([[[1, 2, 3, 4, 5, 6]], [[10, 20, 30, 40, 50, 60]]], np.float32)
    expect(net, given, [[wanted], [[10 * value for value in wanted]]], isa)


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ([2, 1, 0, 0, 0, 0], [[[1, 2], [5, 6]], [[3, 4], [7, 8]]]),
        ([1, 2, 0, 0, 0, 0], [[[1, 2], [3, 4], [5, 6], [7, 8]]]),
        ([2, 2, 0, 0, 0, 0], [[[1], [2], [5], [6]], [[3], [4], [7], [8]]]),
        ([2, 2, 1, 0, 0, 1], [[[3], [4], [7]]]),
        ([2, 2, 0, 3, 1, 0], [[[6]]]),
    ],
)
def test_depth_to_space_lays_channels_out_as_pixels_and_crops(isa: str, attributes: list, wanted: list) -> None:
    net = Net((1, 2, 4))
    net.add_node("depth_to_space", attributes=attributes)
    net.add_node("concat", [1])  # keeps the output an image of its own
    array = np.array(wanted, np.float32)
    expect(net, image([[[1, 2, 3, 4], [5, 6, 7, 8]]]), (array if array.size > 1 else array.ravel()).tolist(), isa)


def test_a_slice_takes_neighbouring_channels_of_each_pixel(isa: str) -> None:
    net = Net((1, 2, 4))
    net.add_node("slice", attributes=[1, 2])
    expect(net, image([[[1, 2, 3, 4], [5, 6, 7, 8]]]), [[[2, 3], [6, 7]]], isa)


def test_softmax_of_small_and_large_values(isa: str) -> None:
    net = Net((1, 1, 2))
    net.add_node("softmax")
    expect(net, vector(0, math.log(3)), [0.25, 0.75], isa)
    expect(net, vector(1000, 1000), [0.5, 0.5], isa)
    expect(net, vector(-1000, 1000), [0, 1], isa)


@pytest.mark.parametrize(("scale_input", "k"), [(False, 1.0), (True, 2.0)])
def test_binary_linear(isa: str, scale_input: bool, k: float) -> None:
    net = Net((1, 1, 3))
    signs = weights([[1, 1, -1], [-1, -1, -1]])
    weight = sign(weights([0.5, 2]), signs)
    net.linear(weight, bias=dense(weights([1, 1])), scale=dense(weights([1, 3])), scale_input=scale_input)
    # The signs of the input are +, -, + (0 counts as +): dot products -1 and -1. K = mean of 2, 4 and 0.
    expect(net, vector(2, -4, 0), [1 - 0.5 * k, 1 - 6 * k], isa)


@pytest.mark.parametrize("scale_input", [False, True])
def test_binary_conv2d_pads_with_nothing(isa: str, scale_input: bool) -> None:
    net = Net((1, 3, 2))
    signs = weights([[[[1, 1, -1]], [[1, -1, -1]]]])
    net.conv2d(sign(weights([0.5]), signs), pad=(0, 1, 0, 1), scale_input=scale_input)
    given = image([[[1, -3], [-2, 2], [0, -6]]])
    # Signs +-, -+, +-. Products with the taps (+ +), (+ -), (- -):
    # x=0: middle (+1 +1), right (+1 -1) -> 2; x=1: left 0, middle -2, right 0 -> -2; x=2: left 0, middle 2 -> 2.
    # K: means of |x| 2, 2, 3 -> (2 + 2)/3, (2 + 2 + 3)/3, (2 + 3)/3.
    k = np.array([4, 7, 5]) / 3 if scale_input else np.ones(3)
    wanted = 0.5 * np.array([2, -2, 2]) * k
    expect(net, given, wanted.reshape(1, 3, 1).tolist(), isa)


def test_sign_weights_on_float_activations(isa: str) -> None:
    net = Net((1, 1, 3))
    net.linear(sign(weights([0.5, 2]), weights([[1, 1, -1], [-1, -1, -1]])))
    expect(net, vector(2, -4, 0.5), [-1.25, 3], isa)
