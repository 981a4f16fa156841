"""What the engine needs besides time: to load, to hold, to run, to be shipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from camfit import _native
from camfit.bench import footprint, ten_megabytes
from camfit.bench.interleave import interleave
from camfit.bench.live import live_bytes
from camfit.bench.peers import BASELINE, Peer
from camfit.bench.subjects import Entry, Subject
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.pack import pack
from camfit.pack.onnx import to_onnx
from camfit.pack.read import read

_SECONDS, _ROUNDS = 0.5, 5
_ROOT = Path(__file__).resolve().parents[3]  # of a checkout


class Use(msgspec.Struct, frozen=True):
    """One file in the engine, one thread, mode ``speed``; milliseconds are medians.

    Attributes:
        file_bytes: of the packed file.
        load_ms: from the bytes of the file to an engine.
        memory_load_ms: the same in mode ``memory``.
        peer_load_ms: from the bytes of the ONNX model to a session of ONNX Runtime; None where it was not timed.
        weights_bytes, arena_bytes, total_bytes: that the engine holds.
        live_bytes: of the values that must be alive together.
        grown_bytes: by how much a process grows that loads the file and runs it once; None where unknown.
        peer_grown_bytes: the same for ONNX Runtime.
    """

    title: str
    file_bytes: int
    load_ms: float
    memory_load_ms: float
    peer_load_ms: float | None
    weights_bytes: int
    arena_bytes: int
    total_bytes: int
    live_bytes: int
    grown_bytes: int | None
    peer_grown_bytes: int | None


class Code(msgspec.Struct, frozen=True):
    """Bytes of machine code as shipped. ``what``: a library, an extension, or a peer's whole package."""

    what: str
    bytes: int


class Resources(msgspec.Struct, frozen=True):
    """All of it. ``notes``: what could not be measured, and why."""

    uses: tuple[Use, ...]
    code: tuple[Code, ...]
    notes: tuple[str, ...] = ()


def measure(subjects: Sequence[Subject], peers: Sequence[Peer], progress: Callable[[str], None]) -> Resources:
    """The files of these subjects and one of 10 MB for each kind of weights, and the size of the code."""
    with_peer = any(peer.name == BASELINE[0].name for peer in peers)
    uses = [_use(title, entry, with_peer, progress) for title, entry in _entries(subjects)]
    code, notes = _code(peers)
    return Resources(tuple(uses), tuple(code), tuple(notes))


def _entries(subjects: Sequence[Subject]) -> Iterator[tuple[str, Entry]]:
    for subject in subjects:
        for entry in subject.build():
            if entry.kind == "camfit":
                yield f"{subject.title}, {entry.name}" if entry.name else subject.title, entry
    yield from ten_megabytes.entries()


def _use(title: str, entry: Entry, with_peer: bool, progress: Callable[[str], None]) -> Use:
    channels = entry.network.input_shape[0]
    data = pack(entry.network, Normalisation((1.0,) * channels, (0.0,) * channels)).data
    loads: list[Callable[[], object]] = [partial(_native.Engine, data, 1, mode) for mode in ("speed", "memory")]
    model = b""
    if with_peer and entry.rounded_from is None:
        model = _model(entry)
        loads += [partial(_session, model)] if model else []
    medians = [float(np.median(times.all)) for times in interleave(loads, _SECONDS, _ROUNDS)]
    memory: dict[str, Any] = _native.Engine(data).memory
    image = entry.image[0].permute(1, 2, 0).numpy()
    use = Use(
        title=title,
        file_bytes=len(data),
        load_ms=medians[0],
        memory_load_ms=medians[1],
        peer_load_ms=medians[2] if model else None,
        weights_bytes=memory["weights_bytes"],
        arena_bytes=memory["arena_bytes"],
        total_bytes=memory["total_bytes"],
        live_bytes=live_bytes(read(data)),
        grown_bytes=_growth("camfit", data, image),
        peer_grown_bytes=_growth("onnxruntime", model, entry.image.numpy()) if model else None,
    )
    progress(f"{title}: loads in {use.load_ms:.3g} ms, arena {use.arena_bytes:,} of {use.live_bytes:,} bytes alive")
    return use


def _model(entry: Entry) -> bytes:
    try:
        return to_onnx(entry.network)
    except CamfitError:
        return b""


def _session(model: bytes) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _growth(engine: str, file: bytes, image: np.ndarray) -> int | None:
    """See footprint.py; None where the system does not tell or the child fails."""
    with tempfile.TemporaryDirectory() as folder:
        path, pixels = Path(folder) / "network", Path(folder) / "image.npy"
        path.write_bytes(file)
        np.save(pixels, np.ascontiguousarray(image))
        command: list[str | Path] = [sys.executable, footprint.__file__, engine, str(_native.__file__), path, pixels]
        done = subprocess.run(command, capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else None


def _code(peers: Sequence[Peer]) -> tuple[list[Code], list[str]]:
    code, notes = [], []
    library = _shared_library()
    if isinstance(library, int):
        code.append(Code("libcamfit, stripped", library))
    else:
        notes.append(f"libcamfit was not measured: {library}")
    extension = Path(str(_native.__file__))
    code.append(Code("camfit's Python extension, engine and coders inside", extension.stat().st_size))
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "stripped.so"
        if (strip := shutil.which("strip")) and subprocess.run([strip, "-o", stripped, extension]).returncode == 0:
            code.append(Code("the same, stripped", stripped.stat().st_size))
    for package in dict.fromkeys(peer.packages[0] for peer in peers):
        if size := _package(package):
            code.append(Code(f"{package}, the package's libraries", size))
    return code, notes


def _shared_library() -> int | str:
    """Bytes of libcamfit, built and stripped, or why there is none. The build stays, for the next time."""
    if not (_ROOT / "engine" / "include" / "camfit.h").exists():
        return "its sources are not here"
    cmake, strip = shutil.which("cmake", path=_path()), shutil.which("strip")
    if cmake is None or strip is None:
        return "needs cmake and strip"
    build = _ROOT / "build" / "shared"
    commands: list[list[str | Path]] = [
        [cmake, "-S", _ROOT, "-B", build, "-DCAMFIT_BUILD_SHARED=ON", "-DCAMFIT_BUILD_PYTHON=OFF"],
        [cmake, "--build", build, "--target", "camfit_shared", "--parallel", "2"],
        [strip, "--strip-unneeded", "-o", build / "libcamfit.stripped.so", build / "libcamfit.so"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            return f"{Path(str(command[0])).name} failed: {lines[-1]}"
    return (build / "libcamfit.stripped.so").stat().st_size


def _path() -> str:
    """Programs of this Python's environment first."""
    import os

    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _package(name: str) -> int:
    """Bytes of the shared libraries that a package installs."""
    try:
        found = files(name) or []
    except PackageNotFoundError:
        return 0
    paths = [Path(str(file.locate())) for file in found if ".so" in file.suffixes]
    return sum(path.stat().st_size for path in paths if path.exists())
