"""A folder of images that nobody has labelled, for a trained network that names them itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from camfit.data.dataset import Split
from camfit.data.folder import TEST, VAL, one_size
from camfit.data.image import SUFFIXES, is_image, read_image
from camfit.errors import DataError


def load(path: Path, seed: int, size: tuple[int, int] | None) -> tuple[Split, Split, Split]:
    """Train, val and test, drawn by the seed: 65 %, 15 % and 20 % of the images in the folder and below; labels are 0.

    size: (height, width) to which every image is resized; None means that all images must have one size.
    Raises DataError, naming the file or folder.
    """
    files = sorted(file for file in path.rglob("*") if is_image(file) and not file.name.startswith("."))
    if len(files) < 3:
        expected = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{path}: found {len(files)} images; expected at least 3 to split ({expected})")
    images = one_size([(file, read_image(file, size)) for file in files])
    order = np.random.default_rng(seed).permutation(len(files))
    test, val = (max(1, round(share * len(files))) for share in (TEST, VAL))
    picks = (order[test + val :], order[test : test + val], order[:test])
    first, second, third = (Split(images[np.sort(pick)], np.zeros(len(pick), np.int64)) for pick in picks)
    return first, second, third
