"""MNN, float32."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import numpy as np

from camfit.bench.peers.peer import Case, Loaded, Peer, converted, silence

# Its command line does the same, and then reports to its maker.
_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class MNN(Peer):
    """High precision on the CPU. A run overwrites the input's memory, so each begins by copying the image in."""

    name = "MNN"
    packages: ClassVar[tuple[str, ...]] = ("MNN",)
    modules: ClassVar[tuple[str, ...]] = ("MNN",)

    def load(self, case: Case) -> Loaded:
        model, file = case.folder / "model.onnx", case.folder / "model.mnn"
        model.write_bytes(case.model)
        done = subprocess.run(
            [sys.executable, "-c", _CONVERT, "-f", "ONNX", "--modelFile", model, "--MNNModel", file, "--bizCode", "x"],
            capture_output=True, text=True,
        )  # fmt: skip
        converted(file, "mnnconvert", done.stderr or done.stdout)
        with silence():
            import MNN as mnn

            interpreter = mnn.Interpreter(str(file))
            session = interpreter.createSession({"numThread": case.threads, "precision": "high", "backend": "CPU"})
            first = interpreter.getSessionInput(session)
            shape = tuple(int(size) for size in case.image.shape)
            interpreter.resizeTensor(first, shape)
            interpreter.resizeSession(session)
        planar = mnn.Tensor_DimensionType_Caffe
        image = mnn.Tensor(shape, mnn.Halide_Type_Float, case.image, planar)
        last = interpreter.getSessionOutput(session)
        sizes = last.getShape()
        result = mnn.Tensor(sizes, mnn.Halide_Type_Float, np.zeros(sizes, np.float32), planar)

        def call() -> None:
            first.copyFrom(image)
            interpreter.runSession(session)

        def output() -> np.ndarray:
            call()
            last.copyToHostTensor(result)
            return np.array(result.getNumpyData()).reshape(sizes)

        return Loaded(call, output, file.stat().st_size)
