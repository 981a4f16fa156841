"""Folders of images without labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camfit.data import load
from camfit.errors import DataError


def fill(root: Path, count: int) -> Path:
    (root / "deeper").mkdir(parents=True)
    for number in range(count):
        folder = root / "deeper" if number % 2 else root
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(folder / f"{number:03}.png")
    (root / "notes.txt").write_text("none")
    return root


def test_images_are_split_once_each_and_a_network_names_them(tmp_path: Path) -> None:
    data = load(fill(tmp_path, 20), outputs=7)
    assert not data.labelled
    assert len(data.classes) == 7
    parts = (data.train, data.val, data.test)
    assert [len(part) for part in parts] == [13, 3, 4]
    assert sorted(int(pixel) for part in parts for pixel in part.images[:, 0, 0, 0]) == list(range(20))
    assert load(tmp_path, outputs=7).fingerprint == data.fingerprint != load(tmp_path, outputs=7, seed=1).fingerprint

    def network(inputs: torch.Tensor) -> torch.Tensor:
        raw = (inputs - data.normalisation.shift[0]) / data.normalisation.scale[0]
        return torch.nn.functional.one_hot(raw[:, 0, 0, 0].round().long() % 7, 7).float()

    named = data.named_by(network)
    assert named.labelled
    for part in (named.train, named.val, named.test):
        assert (part.labels == part.images[:, 0, 0, 0] % 7).all()


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits: found 10 outputs; expected 2 or more, only with a folder of images"):
        load("digits", outputs=10)
    fill(tmp_path, 2)
    with pytest.raises(DataError, match="found 2 images; expected at least 3 to split"):
        load(tmp_path, outputs=3)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "z.png")
    with pytest.raises(DataError, match=r"z\.png: the image is 9x9; expected 4x5"):
        load(tmp_path, outputs=3)
    assert load(tmp_path, outputs=3, size=(6, 6)).input_shape == (1, 6, 6)
