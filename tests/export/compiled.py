"""Exported sources as functions of this process, or as a program for ARM."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from camfit.engine import Engine
from camfit.export import Exported, export_c

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")

# Reads images to the end of its input, writes outputs.
MAIN = """
#include <stdio.h>
#include "net.h"
int main(void) {
  static uint8_t image[NET_INPUT_SIZE];
  static float outputs[NET_OUTPUT_SIZE];
  while (fread(image, 1, sizeof image, stdin) == sizeof image) {
    net_run(image, outputs);
    fwrite(outputs, 1, sizeof outputs, stdout);
  }
  return 0;
}
"""


def cc(folder: Path, *arguments: str, compiler: str = "cc") -> str:
    """Runs the compiler in a folder; what it says is the test's failure."""
    if shutil.which(compiler) is None:
        pytest.skip(f"compiles with {compiler}, which is not installed")
    done = subprocess.run([compiler, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def images_for(engine: Engine, seed: int, count: int = 3) -> np.ndarray:
    """Images uint8 [count, H, W, C]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *engine.input_shape), dtype=np.uint8)


def compiled(folder: Path, *options: str) -> ctypes.CDLL:
    """The sources in a folder, with all warnings as errors."""
    cc(folder, *STRICT, "-O1", *options, "-shared", "-fPIC", "-o", "net.so", "net.c")
    return ctypes.CDLL(str(folder / "net.so"))


def run_c(library: ctypes.CDLL, engine: Engine, images: np.ndarray) -> np.ndarray:
    """What exported sources make of images, uint8 or float32."""
    function = library.net_run if images.dtype == np.uint8 else library.net_run_f32
    outputs = np.empty((len(images), int(np.prod(engine.output_shape))), np.float32)
    for image, output in zip(np.ascontiguousarray(images), outputs, strict=True):
        function(image.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
    return outputs


def run_on_arm(folder: Path, images: np.ndarray, *options: str) -> bytes:
    """The bytes of all outputs, from a program for 64-bit ARM."""
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("runs with qemu-aarch64-static, which is not installed")
    (folder / "main.c").write_text(MAIN)
    cc(folder, *options, "-o", "net-arm", "main.c", "net.c", compiler="aarch64-linux-gnu-gcc")
    command = [emulator, "-L", "/usr/aarch64-linux-gnu", str(folder / "net-arm")]
    return subprocess.run(command, input=images.tobytes(), capture_output=True, check=True).stdout


def assert_same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    """Bit for bit, -0 and +0 told apart."""
    assert found.dtype == wanted.dtype == np.float32
    np.testing.assert_array_equal(found.reshape(-1).view(np.uint32), wanted.reshape(-1).view(np.uint32))


def assert_runs_as_the_engine(folder: Path, data: bytes, seed: int = 0) -> Exported:
    """Exports to a folder, compiles, and compares the outputs of both input types."""
    exported = export_c(data, folder, name="net")
    engine = Engine(data, isa="plain")
    library = compiled(folder)
    images = images_for(engine, seed)
    for raw in (images, images.astype(np.float32) / np.float32(3)):
        assert_same_bits(run_c(library, engine, raw), engine.run(raw))
    return exported
