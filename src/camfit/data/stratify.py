"""Seeded splits that keep every class's share."""

from __future__ import annotations

import numpy as np

from camfit.errors import DataError


def hold_out(labels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` indices, each class in proportion, leaving at least one of every class.

    labels: [N] class indices. Returns (rest, held out), both sorted, disjoint, together 0..N-1.
    Raises DataError if so many cannot be drawn.
    """
    classes, counts = np.unique(labels, return_counts=True)
    free = int((counts - 1).sum())
    if not 0 < count <= free:
        raise DataError(
            f"cannot hold out {count} of {len(labels)} images in {len(classes)} classes; "
            f"expected 1 to {free}, so that one image of every class remains"
        )
    # Largest remainders: exact in total, within one image of proportional in every class.
    share = counts * (count / len(labels))
    quota = np.minimum(np.floor(share).astype(np.int64), counts - 1)
    for index in np.argsort(quota - share, kind="stable"):
        if quota.sum() < count and quota[index] < counts[index] - 1:
            quota[index] += 1
    # Classes of one image cannot give their share; the fullest of the others do.
    while quota.sum() < count:
        quota[np.argmax(counts - 1 - quota)] += 1

    held = np.zeros(len(labels), bool)
    for label, draw in zip(classes, quota, strict=True):
        held[rng.permutation(np.flatnonzero(labels == label))[:draw]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
