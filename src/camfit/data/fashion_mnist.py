"""fashion-mnist: 60,000 + 10,000 grey 28x28 pictures of clothes (Xiao, Rasul, Vollgraf 2017), from idx files."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from camfit.data.dataset import Split
from camfit.data.stratify import hold_out
from camfit.errors import DataError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FOLDER = "/usr/share/datasets/fashion-mnist"  # where Debian's package puts the files
VARIABLE = "CAMFIT_FASHION_MNIST"
VAL = 5000


def load(seed: int) -> tuple[Split, Split, Split]:
    """Train, val and test (55,000 / 5,000 / 10,000 images); only train and val depend on the seed.

    The folder is $CAMFIT_FASHION_MNIST if set, else that of the Debian package. Raises DataError if files are missing
    or damaged.
    """
    folder = Path(os.environ.get(VARIABLE) or FOLDER)
    if not folder.is_dir():
        raise DataError(
            f"fashion-mnist: no folder {folder}; apt-get install dataset-fashion-mnist, "
            f"or set {VARIABLE} to a folder with the four *-ubyte.gz files"
        )
    images, labels = _pair(folder, "train")
    test = Split(*_pair(folder, "t10k"))
    train, val = hold_out(labels, VAL, np.random.default_rng(seed))
    return Split(images[train], labels[train]), Split(images[val], labels[val]), test


def _pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    image_path, label_path = folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{image_path}: found an array of shape {list(images.shape)}; expected [N, 28, 28]")
    if labels.shape != images.shape[:1] or labels.max(initial=0) >= len(CLASSES):
        raise DataError(f"{label_path}: shape {list(labels.shape)}; expected {len(images)} labels 0..9")
    return images[..., None], labels.astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, gzipped: 0, 0, type 8, number of dimensions, big-endian u32 dimensions, then the data.

    Raises DataError, naming the file, if it is missing or damaged.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected the gzipped idx file of that name") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a gzip file ({error})") from error
    rank = data[3] if len(data) >= 4 and data[:3] == b"\0\0\x08" else 0
    if rank == 0 or len(data) < 4 + 4 * rank:
        raise DataError(f"{path}: starts with {data[:4].hex(' ')!r}; expected 00 00 08 and the rank (idx, bytes)")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    expected = 4 + 4 * rank + math.prod(shape)
    if len(data) != expected:
        raise DataError(f"{path}: {len(data)} bytes unpacked; expected {expected} for shape {list(shape)}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
