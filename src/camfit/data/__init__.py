"""Data to learn from: `load` turns a name, an .npz file or a folder of images into a `Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camfit.data import digits, fashion_mnist, folder, mnist_5k, npz, unlabelled
from camfit.data.dataset import Dataset, Normalisation, Split, pixel_unit, to_tensor
from camfit.errors import DataError

__all__ = ["Dataset", "Normalisation", "Split", "load", "names", "to_tensor"]


def names() -> tuple[str, ...]:
    """The data sets that `load` knows by name."""
    return "digits", "mnist-5k", "fashion-mnist"


def load(
    spec: str | Path,
    *,
    seed: int = 0,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    outputs: int | None = None,
) -> Dataset:
    """Load a data set.

    spec: `digits`, `mnist-5k`, `fashion-mnist`, the path of an .npz file (see data/npz.py), or that of a folder of
    class folders of images (see data/folder.py). A folder that is called as a data set is written ./digits.
    seed: draws the parts that the data does not come split into, in every class's proportion.
    mean, std: of the pixels, one number or one a channel, in 0..1 for uint8 and in raw units for float images; both or
    neither. By default those of the train split.
    size: (height, width) to resize images of a folder to.
    outputs: the folder's images have no labels, whatever folders they are in (see data/unlabelled.py): they are for a
    network of so many outputs, which names them itself.
    Raises DataError if the data is missing, damaged or not as described; the message says what would mend it.
    """
    name, path = str(spec), Path(spec).expanduser()
    if size is not None and (min(size) < 1 or name in names() or not path.is_dir()):
        raise DataError(f"{name}: found size {size}; expected a positive (height, width), only with a folder of images")
    if outputs is not None:
        if outputs < 2 or name in names() or not path.is_dir():
            raise DataError(f"{name}: found {outputs} outputs; expected 2 or more, only with a folder of images")
        train, val, test = unlabelled.load(path, seed, size)
        classes = tuple(str(number) for number in range(outputs))
        return Dataset(name, train, val, test, classes, _normalisation(train.images, mean, std), labelled=False)
    if name == "digits":
        (train, val, test), classes = digits.load(seed), digits.CLASSES
    elif name == "mnist-5k":
        (train, val, test), classes = mnist_5k.load(seed), mnist_5k.CLASSES
    elif name == "fashion-mnist":
        (train, val, test), classes = fashion_mnist.load(seed), fashion_mnist.CLASSES
    elif path.suffix == ".npz":
        train, val, test, classes = npz.load(path, seed)
    elif path.is_dir():
        train, val, test, classes = folder.load(path, seed, size)
    else:
        raise DataError(
            f"unknown data {name!r}; expected {', '.join(names())}, an existing .npz file, "
            "or a folder of class folders of images"
        )
    return Dataset(name, train, val, test, classes, _normalisation(train.images, mean, std))


def _normalisation(
    images: np.ndarray, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> Normalisation:
    if mean is None and std is None:
        return Normalisation.measured(images)
    if mean is None or std is None:
        raise DataError(f"found mean {mean} and std {std}; expected both or neither")
    return Normalisation.from_mean_std(
        _per_channel(mean, images.shape[3], "mean"), _per_channel(std, images.shape[3], "std"), pixel_unit(images)
    )


def _per_channel(value: float | Sequence[float], channels: int, name: str) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * channels
    if len(values) != channels:
        raise DataError(f"{name} has {len(values)} values {values}; expected {channels}, one a channel, or one number")
    return values
