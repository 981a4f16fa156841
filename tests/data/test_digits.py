"""scikit-learn's digits."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from camfit.data import load
from camfit.data.digits import load as load_digits_splits
from camfit.errors import DataError


def test_the_splits_are_the_whole_once() -> None:
    parts = load_digits_splits(0)
    assert [len(part) for part in parts] == [1078, 270, 449]
    images = np.concatenate([part.images for part in parts]).reshape(1797, 64)
    original = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, images)) == sorted(map(bytes, original))
    assert images.max() == 255


def test_every_class_has_its_share() -> None:
    for part in load_digits_splits(3):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= 0.06 * counts.sum() / 10 + 2


def test_the_seed_decides_and_is_repeatable() -> None:
    assert load("digits", seed=1).fingerprint == load("digits", seed=1).fingerprint
    assert load("digits", seed=1).fingerprint != load("digits", seed=2).fingerprint


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load("digits")
