"""Arrays as people store them become [N, H, W, C] and [N]."""

import re

import numpy as np
import pytest

from camfit.data.arrays import as_images, as_labels, check_range
from camfit.errors import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_and_last_are_the_same_images(dtype: type, channels: int) -> None:
    last = RNG.integers(0, 256, (4, 5, 6, channels)).astype(dtype)
    expected_type = np.uint8 if dtype == np.uint8 else np.float32
    for array in (last, last.transpose(0, 3, 1, 2)):
        images = as_images(array, "x")
        assert images.dtype == expected_type
        np.testing.assert_array_equal(images, last)


def test_grey_images_need_no_channel_axis() -> None:
    assert as_images(np.zeros((4, 5, 6), np.uint8), "x").shape == (4, 5, 6, 1)


def test_where_both_fit_channels_are_last() -> None:
    assert as_images(np.zeros((4, 3, 8, 1), np.uint8), "x").shape == (4, 3, 8, 1)


@pytest.mark.parametrize("shape", [(4, 784), (4, 8, 8, 4), (4, 4, 8, 8), (4, 1, 8, 8, 1), (0, 8, 8), (4, 0, 8, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"x_train has shape .*; expected \[N, H, W\]"):
        as_images(np.zeros(shape, np.uint8), "x_train")


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.complex64, "<U3"])
def test_other_pixel_types_are_refused(dtype: object) -> None:
    with pytest.raises(DataError, match=r"x_train has type .*; expected uint8"):
        as_images(np.zeros((4, 5, 6), dtype), "x_train")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_pixel_that_is_not_finite_is_named(value: float) -> None:
    array = np.zeros((4, 3, 5, 6))
    array[2, 1, 3, 4] = value
    with pytest.raises(DataError, match=rf"pixel {re.escape(str(value))} at image 2, row 3, column 4, channel 1"):
        as_images(array, "x_test")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64, np.bool_])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_whole_numbers_of_any_type_are_labels(dtype: type, shape: tuple[int, ...]) -> None:
    labels = as_labels(np.array([0, 1, 1], dtype).reshape(shape), "y", 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), "y_val has 2 labels for 3 images"),
        (np.array([0, 1, -1]), "y_val has the label -1 at index 2"),
        (np.array([0, 2**40, 0]), "y_val has the label 1099511627776 at index 1"),
        (np.array([0, 0.5, 1]), "y_val has the label 0.5 at index 1; expected integers"),
        (np.array([np.nan, 0, 1]), "y_val has the label nan at index 0; expected integers"),
        (np.array(["a", "b", "c"]), "y_val has shape .* and type <U1; expected"),
        (np.eye(3), r"y_val has shape \[3, 3\] and type float64; expected \[N\] integers"),
    ],
)
def test_other_labels_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_labels(labels, "y_val", 3)


def test_a_label_beyond_the_classes_is_named() -> None:
    check_range(np.array([0, 9]), "y_test", 10)
    with pytest.raises(DataError, match=r"y_test has the label 10 at index 1; expected 0\.\.9"):
        check_range(np.array([0, 10]), "y_test", 10)
