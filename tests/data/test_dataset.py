"""Splits, normalisation, fingerprints and network inputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from camfit.data import Dataset, Normalisation, Split, to_tensor
from camfit.errors import DataError

RNG = np.random.default_rng(0)


def split(count: int = 4, channels: int = 1, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 5, 6, channels), np.uint8), np.arange(count) % 2)


def dataset() -> Dataset:
    return Dataset("toy", split(seed=1), split(seed=2), split(seed=3), ("cat", "dog"), Normalisation((0.5,), (1.0,)))


def test_input_shape_is_channels_height_width() -> None:
    assert dataset().input_shape == (1, 5, 6)
    assert len(dataset().train) == 4


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 5, 6), np.uint8), np.zeros(2, np.int64), r"shape \[2, 5, 6\]; expected \[N, H, W, C\]"),
        (np.zeros((2, 5, 6, 2), np.uint8), np.zeros(2, np.int64), "C = 1 or 3"),
        (np.zeros((2, 5, 6, 1)), np.zeros(2, np.int64), "type float64; expected uint8 or float32"),
        (np.zeros((2, 5, 6, 1), np.uint8), np.zeros(2, np.int32), "type int32; expected int64"),
        (np.zeros((2, 5, 6, 1), np.uint8), np.zeros(3, np.int64), r"2 images but labels of shape \[3\]"),
    ],
)
def test_a_wrong_split_is_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_a_wrong_dataset_is_refused() -> None:
    good = dataset()
    none = Split(np.zeros((0, 5, 6, 1), np.uint8), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="toy: the val split is empty"):
        replace(good, val=none)
    with pytest.raises(DataError, match=r"toy: test label 2 at index 2 names no class; expected 0\.\.1"):
        replace(good, test=Split(good.test.images, np.array([0, 1, 2, 0])))
    with pytest.raises(DataError, match="names no class"):
        replace(good, test=Split(good.test.images, np.array([0, 1, -1, 0])))
    with pytest.raises(DataError, match=r"val images are \[5, 6, 3\] uint8; expected \[5, 6, 1\] uint8"):
        replace(good, val=split(channels=3))
    with pytest.raises(DataError, match="expected at least 2"):
        replace(good, classes=("cat",))
    with pytest.raises(DataError, match=r"normalisation for 3 channel\(s\); expected 1"):
        replace(good, normalisation=Normalisation((1.0,) * 3, (0.0,) * 3))


def test_the_fingerprint_follows_the_contents() -> None:
    good, other = dataset(), split(seed=3)
    other.images[-1, -1, -1] ^= 1
    assert good.fingerprint == dataset().fingerprint == replace(good, name="another").fingerprint
    changed = [
        replace(good, test=other),
        replace(good, train=Split(good.train.images, 1 - good.train.labels)),
        replace(good, classes=("cat", "cow")),
        replace(good, normalisation=Normalisation((0.5,), (1.5,))),
        replace(good, train=good.val, val=good.train),
    ]
    assert len({good.fingerprint, *(d.fingerprint for d in changed)}) == 1 + len(changed)
    assert len(good.fingerprint) == 16


def test_normalisation_from_mean_and_std() -> None:
    # (255 / 255 - 0.5) / 0.25 = 2 and (0 - 0.5) / 0.25 = -2
    normalisation = Normalisation.from_mean_std((0.5,), (0.25,), unit=255)
    x = to_tensor(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), normalisation)
    torch.testing.assert_close(x.flatten(), torch.tensor([-2.0, 2.0]))


def test_normalisation_holds_float32_values() -> None:
    normalisation = Normalisation((0.1,), (0.3,))
    assert normalisation.scale == (float(np.float32(0.1)),)
    assert Normalisation(normalisation.scale, normalisation.shift) == normalisation


@pytest.mark.parametrize(
    ("mean", "std"), [((0.0,), (0.0,)), ((0.0,), (-1.0,)), ((np.nan,), (1.0,)), ((0.0, 0.0), (1.0,))]
)
def test_an_impossible_normalisation_is_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="expected"):
        Normalisation.from_mean_std(mean, std, unit=1.0)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_measured_normalisation_gives_zero_mean_and_unit_variance(offset: float) -> None:
    images = (RNG.normal(size=(1500, 3, 4, 3)) * [1, 2, 3] + [0, 5, offset]).astype(np.float32)
    x = to_tensor(images, Normalisation.measured(images)).double()
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std(dim=(0, 2, 3)), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_constant_channel_is_only_shifted() -> None:
    images = np.full((3, 2, 2, 1), 51, np.uint8)
    assert Normalisation.measured(images) == Normalisation.from_mean_std((0.2,), (1.0,), 255)
    assert not to_tensor(images, Normalisation.measured(images)).abs().max() > 1e-7


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_to_tensor_multiplies_then_adds_in_float32(dtype: type) -> None:
    images = RNG.integers(0, 256, (2050, 3, 2, 3)).astype(dtype)  # more than two blocks
    normalisation = Normalisation((0.1, 0.2, 0.3), (1.0, -2.0, 3.0))
    images.setflags(write=False)
    x = to_tensor(images, normalisation)
    scale, shift = np.float32(normalisation.scale), np.float32(normalisation.shift)
    expected = (images.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2)
    assert x.dtype == torch.float32
    assert x.is_contiguous()
    np.testing.assert_array_equal(x.numpy(), expected)


def test_to_tensor_refuses_other_channels() -> None:
    with pytest.raises(DataError, match=r"shape \[1, 2, 2, 3\]; expected \[N, H, W, 1\]"):
        to_tensor(np.zeros((1, 2, 2, 3), np.uint8), Normalisation((1.0,), (0.0,)))
