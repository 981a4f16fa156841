"""Folders of class folders of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camfit.data import load
from camfit.errors import DataError

CLASSES = ("bird", "cat", "dog")


def fill(root: Path, classes: tuple[str, ...] = CLASSES, count: int = 10, channels: int = 1) -> Path:
    """`count` images of 4x5 in each class; the first pixel tells the class, the second the image."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.zeros((4, 5, channels), np.uint8)
            pixels[0, 0], pixels[0, 1] = label, i
            Image.fromarray(pixels.squeeze()).save(root / name / f"{i:03}.png")
    return root


@pytest.mark.parametrize("channels", [1, 3])
def test_one_level_is_split(tmp_path: Path, channels: int) -> None:
    data = load(fill(tmp_path, channels=channels))
    assert data.classes == CLASSES
    assert data.input_shape == (channels, 4, 5)
    parts = (data.train, data.val, data.test)
    assert [np.bincount(part.labels, minlength=3).sum() for part in parts] == [20, 4, 6]
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    seen = set()
    for part in parts:
        assert (part.images[:, 0, 0, 0] == part.labels).all()
        seen |= {(int(label), int(i)) for label, i in zip(part.labels, part.images[:, 0, 1, 0], strict=True)}
    assert len(seen) == 30
    assert load(tmp_path).fingerprint == data.fingerprint != load(tmp_path, seed=1).fingerprint


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", count=3)
    data = load(str(tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (26, 4, 9)
    fill(tmp_path / "val", ("cat", "dog"), count=2)
    data = load(str(tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (30, 4, 9)
    assert data.val.labels.tolist() == [1, 1, 2, 2]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    expected = load(fill(tmp_path)).fingerprint
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "cat" / "notes.csv").write_text("a,b")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / ".cache").mkdir()
    assert load(tmp_path).fingerprint == expected


def test_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.new("RGB", (5, 4), (1, 2, 3)).save(tmp_path / "dog" / "red.png")
    data = load(tmp_path)
    assert data.input_shape == (3, 4, 5)
    cats = data.train.images[data.train.labels == 1]
    assert (cats[..., 0] == cats[..., 2]).all()


def test_sizes_must_agree_or_be_given(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.new("L", (7, 6)).save(tmp_path / "cat" / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png: the image is 6x7; expected 4x5 \(height x width\) as .*000\.png"):
        load(tmp_path)
    assert load(tmp_path, size=(8, 9)).input_shape == (1, 8, 9)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "dog" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"dog/broken\.png: cannot be read as an image"):
        load(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match="emu: the class folder holds no image"):
        load(tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found 0 class folder\(s\)"):
        load(tmp_path)
    fill(tmp_path, ("cat",))
    with pytest.raises(DataError, match=r"found 1 class folder\(s\) \['cat'\]; expected at least 2"):
        load(tmp_path)


def test_classes_of_the_parts_must_agree(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    with pytest.raises(DataError, match="a folder train but no folder test"):
        load(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="test: no class folders; expected bird, cat, dog"):
        load(tmp_path)
    fill(tmp_path / "test", ("cat", "emu"))
    with pytest.raises(DataError, match=r"emu: a class that .*train has not; expected one of bird, cat, dog"):
        load(tmp_path)


def test_too_few_images_to_split_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, count=1)
    with pytest.raises(DataError, match="cannot hold out 1 of 3 images in 3 classes"):
        load(tmp_path)
