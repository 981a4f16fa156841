"""Exported integer networks: the engine's bits, and what a processor without floats can run."""

from __future__ import annotations

import ctypes
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camfit import zoo
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.export import export_c
from camfit.network import Network
from camfit.pack import pack
from camfit.trace import trace
from engine.test_integers import everything, scales
from engine.writer import NONE, RELU, RELU6, Net, dense, integers, level
from export.compiled import (
    STRICT,
    assert_runs_as_the_engine,
    assert_same_bits,
    cc,
    compiled,
    images_for,
    run_on_arm,
)
from networks import networks, quantized, random_network


def packed(network: Network) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1 / 64,) * channels, (-2.0,) * channels)).data


def fixed_outputs(folder: Path, library: ctypes.CDLL, engine: Engine, images: np.ndarray) -> np.ndarray:
    """What ``net_run_fixed`` makes of images, as real numbers, and the size of a unit."""
    found = re.search(r"FRACTION_BITS (-?\d+)", (folder / "net.h").read_text())
    assert found
    outputs = np.empty((len(images), int(np.prod(engine.output_shape))), np.int32)
    for image, output in zip(images, outputs, strict=True):
        library.net_run_fixed(image.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
    return np.ldexp(outputs.astype(np.float64), -int(found[1]))


# -- the same bits ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(0, 1 << 16))
def test_random_networks(network: Network, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_runs_as_the_engine(Path(folder), packed(quantized(network, seed)), seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_every_integer_op(seed: int, tmp_path: Path) -> None:
    assert_runs_as_the_engine(tmp_path, everything(np.random.default_rng(seed)).encode(), seed)
    assert "net_run_fixed" in (tmp_path / "net.h").read_text()
