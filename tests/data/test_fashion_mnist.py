"""Fashion-MNIST from idx files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from camfit.data import fashion_mnist, load
from camfit.data.fashion_mnist import read_idx
from camfit.errors import DataError

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.tobytes(), 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in that $CAMFIT_FASHION_MNIST names; every pixel is the image's label."""
    monkeypatch.setenv(fashion_mnist.VARIABLE, str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "VAL", 10)
    for part, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
        images = np.broadcast_to(labels[:, None, None], (count, 28, 28))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
    return tmp_path


@pytest.mark.skipif(not Path(fashion_mnist.FOLDER).is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_real_clothes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fashion_mnist.VARIABLE, raising=False)
    data = load("fashion-mnist")
    assert data.input_shape == (1, 28, 28)
    counts = [np.bincount(part.labels).tolist() for part in (data.train, data.val, data.test)]
    assert counts == [[5500] * 10, [500] * 10, [1000] * 10]
    assert data.classes[data.test.labels[0]] == "Ankle boot"


def test_images_keep_their_labels_and_test_is_whole(folder: Path) -> None:
    data = load("fashion-mnist")
    assert (len(data.train), len(data.val), len(data.test)) == (50, 10, 20)
    assert data.test.labels.tolist() == [*range(10), *range(10)]
    for part in (data.train, data.val, data.test):
        assert (part.images[:, 5, 7, 0] == part.labels).all()


def test_a_missing_folder_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fashion_mnist.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"none; apt-get install dataset-fashion-mnist.*CAMFIT_FASHION_MNIST"):
        load("fashion-mnist")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        load("fashion-mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a gzip file|starts with"),
        (b"plain", "cannot be read as a gzip file"),
        (idx(np.zeros((60, 28, 28), np.uint8))[:-9], "cannot be read as a gzip file"),
        (gzip.compress(b"\0\0\x0d\x03" + bytes(12)), "starts with '00 00 0d 03'; expected 00 00 08"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(3)), "starts with '00 00 08 03'"),
        (
            gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 9) + bytes(8)),
            r"16 bytes unpacked; expected 17 for shape \[9\]",
        ),
        (
            gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12),
            r"expected \d+ for shape \[4294967295, 4294967295, 4294967295\]",
        ),
    ],
    # Names of their own: gzip writes the time into the bytes, and processes that share the tests must agree on names.
    ids=["empty", "plain", "cut short", "type", "short head", "short body", "huge"],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"a-idx3-ubyte.gz: .*({message})"):
        read_idx(path)


def test_images_of_another_size_and_wrong_labels_are_refused(folder: Path) -> None:
    original = (folder / FILES[2]).read_bytes()
    (folder / FILES[2]).write_bytes(idx(np.zeros((20, 8, 8), np.uint8)))
    with pytest.raises(DataError, match=rf"{FILES[2]}: found an array of shape \[20, 8, 8\]; expected \[N, 28, 28\]"):
        load("fashion-mnist")
    (folder / FILES[2]).write_bytes(original)
    for labels in (np.zeros(19, np.uint8), np.full(20, 10, np.uint8)):
        (folder / FILES[3]).write_bytes(idx(labels))
        with pytest.raises(DataError, match=f"{FILES[3]}: .*expected 20 labels 0..9"):
            load("fashion-mnist")
