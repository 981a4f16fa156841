"""A data set in one .npz file: x_train, y_train, x_test, y_test; optionally x_val, y_val and names in `classes`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from camfit.data.arrays import as_images, as_labels, check_range
from camfit.data.dataset import Split
from camfit.data.stratify import hold_out
from camfit.errors import DataError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def load(path: Path, seed: int) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """Train, val and test, and the class names.

    Without x_val and y_val, 15 % of train (at most 5,000 images) are held out. Without `classes`, the names are the
    labels 0..n-1, each of which must occur in y_train. Pickled arrays are refused.
    Raises DataError, naming the file and the array.
    """
    arrays = _read(path)
    missing = [name for name in REQUIRED if name not in arrays]
    if ("x_val" in arrays) != ("y_val" in arrays):
        missing.append("y_val" if "x_val" in arrays else "x_val")
    if missing:
        raise DataError(f"{path}: no array {', '.join(missing)}; found {', '.join(sorted(arrays)) or 'none'}")

    splits = {}
    for part in ("train", "val", "test"):
        if f"x_{part}" in arrays:
            images = as_images(arrays[f"x_{part}"], f"{path}: x_{part}")
            splits[part] = Split(images, as_labels(arrays[f"y_{part}"], f"{path}: y_{part}", len(images)))
    classes = _classes(path, arrays.get("classes"), splits["train"].labels)
    for part, split in splits.items():
        check_range(split.labels, f"{path}: y_{part}", len(classes))

    train = splits["train"]
    if "val" in splits:
        return train, splits["val"], splits["test"], classes
    count = max(1, min(5000, round(0.15 * len(train))))
    try:
        rest, held = hold_out(train.labels, count, np.random.default_rng(seed))
    except DataError as error:
        raise DataError(f"{path}: x_train: {error}; or give x_val and y_val") from error
    return (
        Split(train.images[rest], train.labels[rest]),
        Split(train.images[held], train.labels[held]),
        splits["test"],
        classes,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DataError(f"{path}: {damaged} is damaged (its checksum does not match)")
        arrays = {}
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if not isinstance(array, np.ndarray):  # numpy hands out other members as bytes
                    raise DataError(f"{path}: {name} is not an array; expected plain arrays saved by numpy.savez")
                arrays[name] = array
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        at = f"array {name}" if name else "the file"
        raise DataError(f"{path}: {at} cannot be read ({error}); expected plain arrays saved by numpy.savez") from error
    return arrays


def _classes(path: Path, names: np.ndarray | None, labels: np.ndarray) -> tuple[str, ...]:
    if names is not None:
        if names.ndim != 1 or names.dtype.kind not in "USiu":
            raise DataError(f"{path}: classes is {list(names.shape)} {names.dtype}; expected a list of names")
        return tuple(n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in names.tolist())
    highest = int(labels.max(initial=0))
    present = np.unique(labels)
    if len(present) != highest + 1:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise DataError(
            f"{path}: y_train has labels up to {highest} but none {absent}; expected all of 0..{highest}, "
            "or an array `classes` with the class names"
        )
    return tuple(str(label) for label in range(highest + 1))
