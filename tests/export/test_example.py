"""examples/c_export does what it says, with a network of its kind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from camfit import zoo
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.export import export_c
from camfit.pack import pack
from camfit.trace import trace
from export.compiled import STRICT, cc

EXAMPLE = Path(__file__).parents[2] / "examples" / "c_export"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Engine]:
    """The compiled example, and the engine with the same network."""
    torch.manual_seed(0)
    network = trace(zoo.build("digits_cnn", (1, 8, 8), 10), (1, 8, 8))
    data = pack(network, Normalisation((1 / 64,), (-2.0,)), info={"classes": list("abcdefghij")}).data
    folder = tmp_path_factory.mktemp("example")
    export_c(data, folder)
    cc(folder, *STRICT, "-O2", f"-I{folder}", "-o", "classify", str(EXAMPLE / "classify.c"), "model.c")
    return folder / "classify", Engine(data, isa="plain")


def test_it_prints_the_class_that_the_engine_finds(digits: tuple[Path, Engine]) -> None:
    program, engine = digits
    pixels = np.array((EXAMPLE / "seven.pgm").read_text().split()[4:], np.uint8).reshape(8, 8)
    scores = engine.run(pixels)
    told = subprocess.run([program, EXAMPLE / "seven.pgm"], capture_output=True, text=True, check=True).stdout
    assert told == f"{'abcdefghij'[scores.argmax()]} ({scores.max():.3f})\n"


def test_it_says_which_image_it_expects(digits: tuple[Path, Engine], tmp_path: Path) -> None:
    (tmp_path / "small.pgm").write_text("P2 2 1 255\n0 1\n")
    for words in ([tmp_path / "small.pgm"], [tmp_path / "missing.pgm"], []):
        done = subprocess.run([digits[0], *words], capture_output=True, text=True)
        assert done.returncode == 1 and "expected one plain PGM image of 8 x 8 grey pixels" in done.stderr
