"""Data sets in .npz files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from camfit.data import load
from camfit.errors import DataError

RNG = np.random.default_rng(0)


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """40 + 10 images of 4x5 in two classes; a change of None leaves an array out."""
    plain = {
        "x_train": RNG.integers(0, 256, (40, 4, 5), np.uint8),
        "y_train": np.arange(40) % 2,
        "x_test": RNG.integers(0, 256, (10, 4, 5), np.uint8),
        "y_test": np.arange(10) % 2,
        **changes,
    }
    return {name: array for name, array in plain.items() if array is not None}


def saved(folder: Path, **changes: np.ndarray | None) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays(**changes))  # type: ignore[arg-type]
    return path


def test_val_is_held_out_of_train(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data, stored = load(path), np.load(path)
    assert (len(data.train), len(data.val), len(data.test)) == (34, 6, 10)
    assert data.classes == ("0", "1")
    assert np.bincount(data.val.labels).tolist() == [3, 3]
    joined = np.concatenate([data.train.images, data.val.images])
    assert sorted(map(bytes, joined)) == sorted(map(bytes, stored["x_train"]))
    np.testing.assert_array_equal(data.test.images[..., 0], stored["x_test"])
    assert load(path, seed=1).val.images.tobytes() != data.val.images.tobytes()
    np.testing.assert_array_equal(load(path, seed=1).test.images, data.test.images)


def test_a_val_of_its_own_is_taken(tmp_path: Path) -> None:
    x_val = RNG.integers(0, 256, (6, 4, 5), np.uint8)
    data = load(saved(tmp_path, x_val=x_val, y_val=np.arange(6) % 2))
    assert (len(data.train), len(data.val)) == (40, 6)
    np.testing.assert_array_equal(data.val.images[..., 0], x_val)


def test_float_colour_channels_first(tmp_path: Path) -> None:
    data = load(
        saved(tmp_path, x_train=RNG.random((40, 3, 4, 5)), x_test=RNG.random((10, 3, 4, 5))),
        mean=0.5,
        std=(0.5, 0.25, 1),
    )
    assert data.input_shape == (3, 4, 5)
    assert data.train.images.dtype == np.float32
    assert data.normalisation.scale == (2.0, 4.0, 1.0)
    assert data.normalisation.shift == (-1.0, -2.0, -0.5)


def test_class_names_and_classes_without_images(tmp_path: Path) -> None:
    data = load(saved(tmp_path, classes=np.array(["cat", "dog", "cow"])))
    assert data.classes == ("cat", "dog", "cow")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None}, "no array x_test, y_test; found x_train, y_train"),
        ({"x_val": np.zeros((2, 4, 5), np.uint8)}, "no array y_val; found"),
        ({"y_val": np.zeros(2, np.int64)}, "no array x_val; found"),
        ({"y_train": np.arange(39) % 2}, "y_train has 39 labels for 40 images"),
        ({"y_train": np.arange(40) % 2 - 1}, "y_train has the label -1 at index 0"),
        ({"y_train": np.arange(40) / 2}, "y_train has the label 0.5 at index 1; expected integers"),
        ({"y_train": np.arange(40) % 2 + 1}, "y_train has labels up to 2 but none 0; expected all of 0..2"),
        ({"y_train": np.arange(40) % 2 * 5}, "y_train has labels up to 5 but none 1"),
        ({"y_train": np.zeros(40, np.int64), "y_test": np.zeros(10, np.int64)}, "expected at least 2"),
        ({"y_test": np.arange(10)}, r"y_test has the label 2 at index 2; expected 0\.\.1"),
        ({"x_test": np.zeros((10, 5, 5), np.uint8)}, r"test images are \[5, 5, 1\] uint8; expected \[4, 5, 1\] uint8"),
        ({"x_test": np.zeros((10, 4, 5))}, "test images are .* float32; expected .* uint8"),
        ({"x_train": np.full((40, 4, 5), np.nan)}, "x_train has the pixel nan at image 0, row 0, column 0"),
        ({"x_train": np.array([{}] * 40, object)}, "array x_train cannot be read .*; expected plain arrays"),
        ({"classes": np.array([["a"]])}, r"classes is \[1, 1\] <U1; expected a list of names"),
        ({"classes": np.array(["a", "b", "a"])[:1]}, r"y_train has the label 1 at index 1; expected 0\.\.0"),
        ({"x_train": np.zeros((2, 4, 5), np.uint8), "y_train": np.arange(2)}, "x_train: cannot hold out 1 of 2 images"),
    ],
)
def test_a_wrong_array_is_named(tmp_path: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    with pytest.raises(DataError, match=rf"data\.npz: .*{message}"):
        load(saved(tmp_path, **changes))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    good = saved(tmp_path).read_bytes()
    path = tmp_path / "bad.npz"
    flipped = bytearray(good)
    flipped[good.index(b"x_train.npy") + 300] ^= 1  # within the first array's pixels
    np.save(tmp_path / "array.npy", np.zeros(3))
    contents = (b"", b"text", good[: len(good) // 2], bytes(flipped), (tmp_path / "array.npy").read_bytes())
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.npz"):
            load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"no array")
    with pytest.raises(DataError, match=r"bad\.npz: x_train is not an array"):
        load(path)
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        load(tmp_path / "none.npz")
