"""Prints by how many bytes a process grows when it loads a network and runs it once.

    python footprint.py camfit PATH_OF_NATIVE_MODULE FILE IMAGE.npy
    python footprint.py onnxruntime - FILE IMAGE.npy

Run as a program of its own, without the package around it, whose torch would hide what an engine needs. Growth is the
largest resident memory since the runtime was imported, less the resident memory then; Linux only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Imports the runtime, then measures."""
    engine, module, file, image = sys.argv[1:]
    array = np.load(image)
    work = _camfit(module) if engine == "camfit" else _onnxruntime()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    kept = work(file, array)
    print(_resident("VmHWM") - before)
    del kept


def _camfit(path: str) -> Callable[[str, np.ndarray], object]:
    spec = spec_from_file_location("_native", path)
    assert spec is not None and spec.loader is not None
    native: Any = module_from_spec(spec)
    spec.loader.exec_module(native)

    def work(file: str, image: np.ndarray) -> object:
        engine = native.Engine(Path(file).read_bytes(), 1, "speed", "auto")
        return engine, engine.run(image)

    return work


def _onnxruntime() -> Callable[[str, np.ndarray], object]:
    import onnxruntime

    def work(file: str, image: np.ndarray) -> object:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return session, session.run(None, {"input": image})

    return work


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
