"""What `load` accepts and how pixels are normalised."""

from pathlib import Path

import pytest
import torch

from camfit.data import load, names, to_tensor
from camfit.errors import DataError


def test_an_unknown_name_lists_what_is_possible() -> None:
    with pytest.raises(DataError, match=r"unknown data 'mnits'; expected digits, mnist-5k, fashion-mnist, .*npz"):
        load("mnits")
    assert names() == ("digits", "mnist-5k", "fashion-mnist")


def test_the_default_normalisation_is_that_of_train() -> None:
    data = load("digits")
    x = to_tensor(data.train.images, data.normalisation)
    assert x.mean().abs() < 1e-4
    assert (x.std() - 1).abs() < 1e-3


def test_a_given_normalisation_is_in_units_of_0_to_1() -> None:
    data = load("digits", mean=0.25, std=[0.5])
    x = to_tensor(data.test.images, data.normalisation)
    expected = (torch.from_numpy(data.test.images).permute(0, 3, 1, 2) / 255 - 0.25) / 0.5
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.5, None, "found mean 0.5 and std None; expected both or neither"),
        (0.5, 0.0, "positive std"),
        ((0.5, 0.5), 1.0, r"mean has 2 values \(0.5, 0.5\); expected 1"),
        (0.5, (1.0, 1.0, 1.0), "std has 3 values"),
    ],
)
def test_a_wrong_normalisation_is_refused(mean: float, std: float | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("digits", mean=mean, std=std)


def test_size_is_for_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only with a folder"):
        load("digits", size=(8, 8))
    with pytest.raises(DataError, match=r"found size \(0, 8\); expected a positive"):
        load(tmp_path, size=(0, 8))
