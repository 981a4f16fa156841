"""A folder of class folders of images, at once or under train/, val/ (optional) and test/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camfit.data.dataset import Split
from camfit.data.image import SUFFIXES, is_image, read_image
from camfit.data.stratify import hold_out
from camfit.errors import DataError

TEST, VAL = 0.20, 0.15  # shares of the whole, where the folder has no split of its own


def load(path: Path, seed: int, size: tuple[int, int] | None) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """Train, val and test, and the class names (the class folders of train, sorted).

    size: (height, width) to which every image is resized; None means that all images must have one size.
    With a train/ of class folders there must be a test/; without a val/, 15 % of train are held out. Otherwise 20 % are
    held out for test and 15 % for validation. If one image has colour, grey ones become RGB.
    Raises DataError, naming the file or folder.
    """
    rng = np.random.default_rng(seed)
    if not any(child.is_dir() for child in _children(path / "train")):
        images, labels, classes = _read([path], size)
        rest, test = _hold_out(path, labels[0], TEST, len(labels[0]), rng)
        train, val = _hold_out(path, labels[0][rest], VAL, len(labels[0]), rng)
        picks = (rest[train], rest[val], test)
        first, second, third = (Split(images[0][pick], labels[0][pick]) for pick in picks)
        return first, second, third, classes
    if not (path / "test").is_dir():
        raise DataError(f"{path}: found a folder train but no folder test; expected both (and optionally val)")
    parts = [path / part for part in ("train", "test", "val") if part != "val" or (path / part).is_dir()]
    images, labels, classes = _read(parts, size)
    splits = [Split(*pair) for pair in zip(images, labels, strict=True)]
    if len(splits) == 3:
        return splits[0], splits[2], splits[1], classes
    train, val = _hold_out(path / "train", labels[0], VAL, len(labels[0]), rng)
    return Split(images[0][train], labels[0][train]), Split(images[0][val], labels[0][val]), splits[1], classes


def _hold_out(
    path: Path, labels: np.ndarray, share: float, whole: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    try:
        return hold_out(labels, max(1, round(share * whole)), rng)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read(
    parts: Sequence[Path], size: tuple[int, int] | None
) -> tuple[list[np.ndarray], list[np.ndarray], tuple[str, ...]]:
    """Images [N, H, W, C] and labels [N] of each part; the first part's folders are the classes."""
    classes = tuple(child.name for child in _children(parts[0]) if child.is_dir())
    if len(classes) < 2:
        raise DataError(f"{parts[0]}: found {len(classes)} class folder(s) {list(classes)}; expected at least 2")
    pixels: list[list[np.ndarray]] = []
    labels: list[list[int]] = []
    expected: tuple[Path, tuple[int, ...]] | None = None
    for part in parts:
        pixels.append([])
        labels.append([])
        for folder in (child for child in _children(part) if child.is_dir()):
            if folder.name not in classes:
                raise DataError(f"{folder}: a class that {parts[0]} has not; expected one of {', '.join(classes)}")
            files = [child for child in _children(folder) if is_image(child)]
            if not files:
                raise DataError(f"{folder}: the class folder holds no image; expected {', '.join(sorted(SUFFIXES))}")
            for file in files:
                image = read_image(file, size)
                expected = expected or (file, image.shape[:2])
                _check_size(file, image, *expected)
                pixels[-1].append(image)
                labels[-1].append(classes.index(folder.name))
        if not labels[-1]:
            raise DataError(f"{part}: no class folders; expected {', '.join(classes)}")
    channels = max(image.shape[2] for images in pixels for image in images)
    return (
        [np.stack([np.broadcast_to(i, (*i.shape[:2], channels)) for i in images]) for images in pixels],
        [np.array(part, np.int64) for part in labels],
        classes,
    )


def one_size(read: Sequence[tuple[Path, np.ndarray]]) -> np.ndarray:
    """The images [N, H, W, C]; if one has colour, grey ones become RGB.

    read: files and their pixels, one or more. Raises DataError for the first that has not the first one's size.
    """
    channels = max(image.shape[2] for _, image in read)
    for file, image in read:
        _check_size(file, image, read[0][0], read[0][1].shape[:2])
    return np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for _, image in read])


def _check_size(file: Path, image: np.ndarray, first: Path, expected: tuple[int, ...]) -> None:
    if image.shape[:2] != expected:
        raise DataError(
            f"{file}: the image is {_by(image.shape)}; expected {_by(expected)} (height x width) as "
            f"{first}, or give a size to resize to"
        )


def _children(folder: Path) -> list[Path]:
    """The visible entries by name, so that the order does not depend on the file system; none if there is no folder."""
    return sorted(c for c in folder.iterdir() if not c.name.startswith(".")) if folder.is_dir() else []


def _by(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"
