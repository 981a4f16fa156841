"""Seeded stratified splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camfit.data.stratify import hold_out
from camfit.errors import DataError

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def draw(labels: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return hold_out(labels, count, np.random.default_rng(seed))


def test_classes_keep_their_shares() -> None:
    rest, held = draw(LABELS, 10)
    assert np.bincount(LABELS[held]).tolist() == [5, 3, 2]
    assert np.bincount(LABELS[rest]).tolist() == [45, 27, 18]


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 5), min_size=2, max_size=60).map(np.array),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 3),
)
def test_a_split_is_a_partition_that_leaves_every_class(labels: np.ndarray, fraction: float, seed: int) -> None:
    free = len(labels) - len(np.unique(labels))
    if free == 0:
        return
    count = max(1, round(fraction * free))
    rest, held = draw(labels, count, seed)
    assert len(held) == count
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)
    shares = np.bincount(labels, minlength=6) * count / len(labels)
    if (np.unique(labels, return_counts=True)[1] * (1 - count / len(labels)) >= 1).all():
        assert (np.abs(np.bincount(labels[held], minlength=6) - shares) <= 1).all()


def test_the_seed_decides() -> None:
    assert draw(LABELS, 10)[1].tolist() == draw(LABELS, 10)[1].tolist()
    assert draw(LABELS, 10)[1].tolist() != draw(LABELS, 10, seed=1)[1].tolist()


@pytest.mark.parametrize("count", [0, 98, 1000])
def test_an_impossible_count_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"hold out {count} of 100 images in 3 classes; expected 1 to 97"):
        draw(LABELS, count)
