"""digits: 1,797 grey 8x8 digits shipped with scikit-learn (UCI optical recognition of handwritten digits)."""

from __future__ import annotations

import numpy as np

from camfit.data.dataset import Split
from camfit.data.stratify import hold_out
from camfit.errors import DataError

CLASSES = tuple("0123456789")
TEST, VAL = 449, 270  # a quarter and 15 % of the whole


def load(seed: int) -> tuple[Split, Split, Split]:
    """Train, val and test (1,078 / 270 / 449 images); the sixteen grey levels are spread over 0..255.

    Raises DataError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # here: only this data set needs it
    except ImportError as error:
        raise DataError(f"digits: scikit-learn cannot be imported ({error}); pip install scikit-learn") from error
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.int64)
    rng = np.random.default_rng(seed)
    rest, test = hold_out(labels, TEST, rng)
    train, val = hold_out(labels[rest], VAL, rng)
    train, val = rest[train], rest[val]
    return Split(pixels[train], labels[train]), Split(pixels[val], labels[val]), Split(pixels[test], labels[test])
