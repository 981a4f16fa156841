"""From arrays as people store them to checked images [N, H, W, C] and labels [N]; every error names the array."""

from __future__ import annotations

import numpy as np

from camfit.errors import DataError


def as_images(array: np.ndarray, name: str) -> np.ndarray:
    """Images as [N, H, W, C], uint8 or float32.

    array: [N, H, W], [N, H, W, 1|3] or [N, 1|3, H, W], uint8 or float. Where both of the last readings fit, channels
    are taken to be last. Raises DataError for another shape or type, and for a pixel that is not finite in float32.
    """
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"{name} has type {array.dtype}; expected uint8 (0..255), float32 or float64")
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"{name} has shape {list(array.shape)}; expected [N, H, W], [N, H, W, 1|3] or [N, 1|3, H, W], all above 0"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported below
        images = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(images)
    if not finite.all():
        image, row, column, channel = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
        raise DataError(
            f"{name} has the pixel {array[image, row, column, channel]} at image {image}, row {row}, column {column}, "
            f"channel {channel}; expected finite float32 values"
        )
    return images


def as_labels(array: np.ndarray, name: str, count: int) -> np.ndarray:
    """Labels as [N] int64, N = count.

    array: [N] or [N, 1], integers in any numeric type. Raises DataError for another shape or length, for a value that
    is not an integer and for a negative one.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise DataError(f"{name} has shape {list(array.shape)} and type {array.dtype}; expected [N] integers")
    if len(array) != count:
        raise DataError(f"{name} has {len(array)} labels for {count} images; expected one label an image")
    bad = ~np.isfinite(array) | (array != np.floor(array)) if array.dtype.kind == "f" else np.zeros(count, bool)
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(f"{name} has the label {array[at]} at index {at}; expected integers")
    bad = (array < 0) | (array >= 2**31)
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(f"{name} has the label {array[at]} at index {at}; expected 0, 1, 2, ...")
    return array.astype(np.int64)


def check_range(labels: np.ndarray, name: str, classes: int) -> None:
    """Raise DataError if a label is not below the number of classes."""
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        at = int(wrong[0])
        raise DataError(f"{name} has the label {labels[at]} at index {at}; expected 0..{classes - 1}")
