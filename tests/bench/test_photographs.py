"""The pure parts of ``camfit bench photographs``, and what it says where a package is missing."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from torch import nn

from camfit.bench import photographs, photographs_page
from camfit.bench.photographs import agreement, centre_and_corners, folds, paths, random_crops, scaled, signal_to_noise
from camfit.bench.quantizers import Quantizer, Run
from camfit.data import Normalisation, to_tensor
from camfit.errors import CamfitError
from camfit.network import Network, Node


def test_the_shorter_side_is_scaled() -> None:
    assert scaled(100, 200, 50) == (50, 100) and scaled(300, 100, 50) == (150, 50)


def test_the_middle_and_the_corners() -> None:
    """Pixel (y, x) of a 4 x 6 picture is 10 y + x."""
    pixels = (10 * np.arange(4)[:, None] + np.arange(6))[..., None].astype(np.uint8)
    centre, corners = centre_and_corners(pixels, 2)
    assert centre[..., 0].tolist() == [[12, 13], [22, 23]]
    assert corners[:, 0, 0, 0].tolist() == [0, 4, 20, 24] and corners.shape == (4, 2, 2, 1)


def test_random_crops_take_the_photographs_in_turn_and_mirror_some() -> None:
    def rising(index: int, short: int) -> np.ndarray:
        return np.broadcast_to((np.arange(2 * short) % 50 + 100 * index)[None, :, None], (short, 2 * short, 1))

    found = random_crops(rising, 2, 40, 3, side=8)
    assert found.shape == (40, 8, 8, 1)
    assert (found[::2].max() < 50) and (found[1::2].min() >= 100)
    falling = (np.diff(found[:, 0, :, 0].astype(int), axis=1) == -1).mean(1) > 0.5
    assert 8 < falling.sum() < 32
    assert np.array_equal(found, random_crops(rising, 2, 40, 3, side=8))
    assert not np.array_equal(found, random_crops(rising, 2, 40, 4, side=8))


def test_no_photograph_is_in_both_folds(tmp_path: Path) -> None:
    """Each of five pictures is of one grey, so that its crops tell where they come from."""
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        Image.fromarray(np.full((240, 300), 40 * number, np.uint8)).save(file)
    one, other = folds(files, 6, 0)
    for fold, greys in ((one, {0, 80, 160}), (other, {40, 120})):
        for part in (fold.centres, fold.corners, fold.random):
            assert set(np.unique(part).tolist()) == greys and part.shape[1:] == (224, 224, 3)
    assert (len(one.centres), len(one.corners), len(one.random)) == (3, 12, 6)


def test_agreement_and_signal_to_noise_by_hand() -> None:
    expected = np.array([[1.0, 3.0], [4.0, 0.0]], np.float32)
    found = np.array([[1.0, 3.0], [4.0, 5.0]], np.float32)
    assert agreement(expected, found) == 1 and agreement(expected, expected) == 2
    assert signal_to_noise(expected, found) == pytest.approx(10 * math.log10(26 / 25))
    assert signal_to_noise(expected, expected) == math.inf


def test_a_row_counts_both_folds_and_the_page_shows_it() -> None:
    def logits(*classes: int) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[list(classes)]

    expected = [(logits(0, 1), logits(0, 1)), (logits(2), logits(2))]
    found = [(logits(0, 2), logits(0, 1)), (logits(2), logits(1))]
    row = photographs.row("name", {"weight_bits": 7}, expected, found)
    assert (row["agree"], row["photographs"], row["by_fold"]) == (2, 3, [[1, 2], [1, 1]])
    assert (row["crops_agree"], row["crops"]) == (4, 6)
    peer = photographs.row("peer", {"preset": "mixed"}, expected, expected) | {"version": "peer 1, python 3"}
    report: dict[str, Any] = {
        "command": "camfit bench photographs",
        "seed": 0,
        "calibration_images": 4,
        "float_difference": 2e-4,
        "rows": [row],
        "peers": [peer],
        "missing": [{"name": "other", "options": {"bits": 8}, "reason": "not installed: other"}],
        "saturates": False,
        "versions": {"python": "3"},
    }
    page = photographs_page.page(report)
    assert "| name | `weight_bits = 7` | 66.7 % (2 of 3) | 1 of 2, 1 of 1 | 66.7 % of 6 | " in page
    assert "| peer | `preset = 'mixed'` | 100.0 % (3 of 3) | 2 of 2, 1 of 1 | 100.0 % of 6 | inf dB |" in page
    assert "the best row has 66.7 %" in page, "the goal is about camfit's rows"
    assert "other (`bits = 8`): not installed: other." in page and "Versions: python 3, peer 1.\n" in page
    assert "2.0e-04 of the largest\n(not within 1e-4)" in page


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CamfitError, match="pip install --no-deps scikit-image"):
        paths()


class Fake(Quantizer):
    """Answers with the mean of each channel of what it runs on plus ``factor`` times that of what it has seen."""

    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    modules: ClassVar[tuple[str, ...]] = ("numpy",)

    def __init__(self, factor: float, failure: str = "") -> None:
        self.name, self.options, self.factor, self.failure = f"factor {factor}", {"factor": factor}, factor, failure

    def quantize(self, model: bytes, images: np.ndarray, folder: Path) -> Run:
        if self.failure:
            raise ValueError(self.failure)
        return lambda found: found.mean((2, 3)) + self.factor * images.mean((0, 2, 3))


class Absent(Fake):
    packages: ClassVar[tuple[str, ...]] = ("no-such-quantizer",)
    modules: ClassVar[tuple[str, ...]] = ("no_such_quantizer",)


def small() -> tuple[Network, Normalisation, tuple[photographs.Fold, photographs.Fold]]:
    """A mean of each channel, and two folds of random pictures of 8 x 8."""
    nodes = (Node("pool", "pool", ("input",)), Node("flat", "flat", ("pool",)))
    network = Network(nodes, {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}, (3, 8, 8)).eval()
    generator = np.random.default_rng(0)
    one, other = (
        photographs.Fold(*(generator.integers(0, 256, (number, 8, 8, 3)).astype(np.uint8) for number in (4, 16, 6)))
        for _ in range(2)
    )
    return network, Normalisation((1 / 255,) * 3, (0.0,) * 3), (one, other)


def test_quantizers_see_the_other_half_and_failing_or_absent_ones_are_told() -> None:
    network, pixels, halves = small()
    expected = [
        tuple(to_tensor(part, pixels).mean((2, 3)).numpy() for part in (half.centres, half.corners)) for half in halves
    ]
    quantizers = (Fake(0.0), Fake(0.5), Fake(1.0, "no such op | Relu\nmore"), Absent(2.0))
    rows, missing = photographs._of_peers(network, halves, pixels, expected, lambda line: None, quantizers)
    assert [row["name"] for row in rows] == ["factor 0.0", "factor 0.5"] and rows[0]["decibels"] > 100
    seen = [to_tensor(half.random, pixels).mean((0, 2, 3)).numpy() for half in halves[::-1]]
    shifted = [(one + 0.5 * mean, other + 0.5 * mean) for (one, other), mean in zip(expected, seen, strict=True)]
    assert rows[1]["decibels"] == pytest.approx(photographs.row("", {}, expected, shifted)["decibels"], abs=1e-3)
    assert [(row["name"], row["reason"]) for row in missing] == [
        ("factor 1.0", "ValueError: no such op | Relu"),
        ("factor 2.0", "not installed: no-such-quantizer"),
    ]
    assert rows[0]["version"].startswith("numpy ")
