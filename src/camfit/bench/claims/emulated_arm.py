"""A packed network's outputs on 64-bit ARM, emulated: the engine cross-compiled from a checkout, run by qemu."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from camfit.errors import CamfitError

_ROOT = Path(__file__).resolve().parents[4]  # of a checkout
_BUILD = _ROOT / "build" / "arm-engine"
_SYSTEM = "/usr/aarch64-linux-gnu"


class NoArmError(CamfitError):
    """Something that it takes is not there; says what."""


def outputs(file: bytes, images: np.ndarray, progress: Callable[[str], None] = lambda line: None) -> np.ndarray:
    """All outputs float32 [N, ...] of raw images uint8 [N, H, W, C].

    Raises:
        NoArmError: no sources, compiler or emulator, or one of them failed.
    """
    emulator = _program("qemu-aarch64-static")
    with tempfile.TemporaryDirectory() as folder:
        program, network, pixels = (Path(folder) / name for name in ("outputs", "network.camfit", "images"))
        _build(program, progress)
        network.write_bytes(file)
        pixels.write_bytes(np.ascontiguousarray(images).tobytes())
        done = subprocess.run([emulator, "-L", _SYSTEM, program, network, pixels], capture_output=True)
    if done.returncode:
        raise NoArmError(f"the emulated engine failed: {done.stderr.decode().strip() or done.returncode}")
    return np.frombuffer(done.stdout, np.float32).reshape(len(images), -1)


def _build(program: Path, progress: Callable[[str], None]) -> None:
    """Builds the program; the engine's library stays, for the next time."""
    if not (_ROOT / "engine" / "include" / "camfit.h").exists():
        raise NoArmError("the engine's sources are not here; expected a checkout")
    cmake, compiler = _program("cmake"), _program("aarch64-linux-gnu-gcc")
    toolchain = _ROOT / "cmake" / "aarch64-linux-gnu.cmake"
    if not _BUILD.exists():
        progress("building the engine for 64-bit ARM")
    source = Path(__file__).with_name("outputs.c")
    commands: tuple[Sequence[str | Path], ...] = (
        (cmake, "-S", _ROOT, "-B", _BUILD, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCAMFIT_BUILD_PYTHON=OFF"),
        (cmake, "--build", _BUILD, "--target", "camfit_engine"),
        (compiler, "-std=c99", "-O2", "-I", _ROOT / "engine" / "include", "-o", program, source,
         _BUILD / "libcamfit_engine.a", "-lstdc++", "-lm", "-pthread"),
    )  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise NoArmError(f"{Path(command[0]).name} failed: {lines[-1]}")


def _program(name: str) -> str:
    """Its path; programs of this Python's environment come first."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=places)
    if found is None:
        raise NoArmError(f"needs {name}, which is not installed")
    return found
