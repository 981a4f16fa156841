"""What every loader returns: images as they are on disk, labels, and how raw pixels become network input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from camfit.errors import DataError

_NAMED = 16  # images that a network names at a time
_BLOCK = 1024  # images converted at a time, so that float copies stay small beside the data


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    images: [N, H, W, C], uint8 0..255 or float32, C = 1 or 3. labels: [N], int64, class indices from 0.
    Raises DataError if shapes, types or lengths are not these.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise DataError(f"images have shape {list(self.images.shape)}; expected [N, H, W, C] with C = 1 or 3")
        if self.images.dtype not in (np.uint8, np.float32):
            raise DataError(f"images have type {self.images.dtype}; expected uint8 or float32")
        if self.labels.dtype != np.int64:
            raise DataError(f"labels have type {self.labels.dtype}; expected int64")
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"{len(self.images)} images but labels of shape {list(self.labels.shape)}; expected one label an image"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Normalisation:
    """Network input x = raw * scale + shift, per channel, in float32 (multiply, round, add, round)."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.shift) or not self.scale:
            raise DataError(
                f"normalisation has {len(self.scale)} scales and {len(self.shift)} shifts; expected one each a channel"
            )
        if not np.isfinite(self.scale + self.shift).all():
            raise DataError(f"normalisation must be finite; found scale {self.scale}, shift {self.shift}")
        # Kept as the float32 values that a packed file stores, so that both sides compute with the same numbers.
        object.__setattr__(self, "scale", tuple(float(np.float32(s)) for s in self.scale))
        object.__setattr__(self, "shift", tuple(float(np.float32(s)) for s in self.shift))

    @classmethod
    def from_mean_std(cls, mean: Sequence[float], std: Sequence[float], unit: float) -> Normalisation:
        """x = (raw / unit - mean) / std. unit is the raw value that stands for 1: 255 for uint8, 1 for float.

        Raises DataError if the lengths differ, a value is not finite or a std is not positive.
        """
        if len(mean) != len(std):
            raise DataError(f"mean has {len(mean)} channels, std {len(std)}; expected the same number")
        if not np.isfinite([*mean, *std]).all() or min(std, default=1.0) <= 0:
            raise DataError(f"expected finite mean and positive std; found mean {tuple(mean)}, std {tuple(std)}")
        return cls(
            scale=tuple(1.0 / (unit * s) for s in std),
            shift=tuple(-m / s for m, s in zip(mean, std, strict=True)),
        )

    @classmethod
    def measured(cls, images: np.ndarray) -> Normalisation:
        """Zero mean, unit variance per channel over these images [N, H, W, C]; a constant channel is only shifted."""
        unit, channels = pixel_unit(images), images.shape[3]
        pixels = images.size // channels
        # Two passes in blocks: exact enough for float images far from zero, and no float64 copy of the whole set.
        mean = sum((_block_sum(images, i, np.zeros(channels), 1) for i in _starts(images)), np.zeros(channels)) / pixels
        variance = sum((_block_sum(images, i, mean, 2) for i in _starts(images)), np.zeros(channels)) / pixels
        std = np.sqrt(variance)
        std[std <= 1e-6 * np.maximum(np.abs(mean), 1e-30)] = unit
        return cls.from_mean_std((mean / unit).tolist(), (std / unit).tolist(), unit)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test images of one classification task, and their normalisation.

    Choices (training length, budgets, thresholds) are made on `val`; `test` is only ever reported.
    labelled: whether anybody said the labels; otherwise they are 0 until a network names the images (`named_by`).
    Raises DataError if the splits' image shapes or types differ, a split is empty or a label names no class.
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    normalisation: Normalisation
    labelled: bool = True

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(f"{self.name}: found {len(self.classes)} class(es) {self.classes}; expected at least 2")
        first = self.train.images
        for part, split in (("train", self.train), ("val", self.val), ("test", self.test)):
            if not len(split):
                raise DataError(f"{self.name}: the {part} split is empty; expected at least one image")
            if split.images.shape[1:] != first.shape[1:] or split.images.dtype != first.dtype:
                raise DataError(
                    f"{self.name}: {part} images are {list(split.images.shape[1:])} {split.images.dtype}; "
                    f"expected {list(first.shape[1:])} {first.dtype} as in train (height, width, channels)"
                )
            wrong = np.flatnonzero((split.labels < 0) | (split.labels >= len(self.classes)))
            if wrong.size:
                raise DataError(
                    f"{self.name}: {part} label {split.labels[wrong[0]]} at index {wrong[0]} names no class; "
                    f"expected 0..{len(self.classes) - 1}"
                )
        if len(self.normalisation.scale) != first.shape[3]:
            raise DataError(
                f"{self.name}: normalisation for {len(self.normalisation.scale)} channel(s); "
                f"expected {first.shape[3]} as in the images"
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one network input."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    def named_by(self, network: Callable[[torch.Tensor], torch.Tensor]) -> Dataset:
        """The same images, each under the class that the network itself names: accuracy is agreement with it then.

        network: inputs [N, C, H, W] to outputs [N, classes], in evaluation mode.
        """

        def named(split: Split) -> Split:
            starts = range(0, len(split), _NAMED)
            inputs = (to_tensor(split.images[start : start + _NAMED], self.normalisation) for start in starts)
            return Split(split.images, torch.cat([network(of).argmax(1) for of in inputs]).numpy())

        return replace(self, train=named(self.train), val=named(self.val), test=named(self.test), labelled=True)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when any image, label, class name or the normalisation changes."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((self.classes, self.normalisation.scale, self.normalisation.shift)).encode())
        for split in (self.train, self.val, self.test):
            digest.update(repr((split.images.shape, split.images.dtype.name)).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()


def pixel_unit(images: np.ndarray) -> float:
    """The raw value that stands for 1: 255 for uint8, 1 for float images."""
    return 255.0 if images.dtype == np.uint8 else 1.0


def to_tensor(images: np.ndarray, normalisation: Normalisation) -> torch.Tensor:
    """Images [N, H, W, C] as contiguous float32 network input [N, C, H, W], normalised.

    Raises DataError if the number of channels differs from the normalisation's.
    """
    if images.ndim != 4 or images.shape[3] != len(normalisation.scale):
        raise DataError(
            f"images have shape {list(images.shape)}; expected [N, H, W, {len(normalisation.scale)}], "
            "the normalisation's channels"
        )
    count, height, width, channels = images.shape
    result = np.empty((count, channels, height, width), np.float32)
    scale = np.array(normalisation.scale, np.float32)[:, None, None]
    shift = np.array(normalisation.shift, np.float32)[:, None, None]
    for start in _starts(images):
        block = result[start : start + _BLOCK]
        block[...] = images[start : start + _BLOCK].transpose(0, 3, 1, 2)
        block *= scale
        block += shift
    return torch.from_numpy(result)


def _starts(images: np.ndarray) -> range:
    return range(0, len(images), _BLOCK)


def _block_sum(images: np.ndarray, start: int, centre: np.ndarray, power: int) -> np.ndarray:
    """Per channel, the sum of (raw - centre) ** power over one block, in float64."""
    pixels = images[start : start + _BLOCK].reshape(-1, images.shape[3]).astype(np.float64)
    pixels -= centre
    sums: np.ndarray = (pixels**power).sum(axis=0)
    return sums
