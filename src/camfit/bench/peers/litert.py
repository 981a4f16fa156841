"""LiteRT (TensorFlow Lite) with XNNPACK, float32, by way of litert-torch."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import torch

from camfit.bench.peers.peer import Case, Loaded, Peer, converted, silence

# In a process of its own: the converter brings JAX and more, whose threads have no place beside what is timed.
_CONVERT = """
import sys, torch, litert_torch
program = torch.export.load(sys.argv[1])
litert_torch.convert(program.module(), program.example_inputs[0]).export(sys.argv[2])
"""


class LiteRT(Peer):
    """The interpreter with its default delegate, its input set once; the input stays in channels-first order."""

    name = "LiteRT"
    packages: ClassVar[tuple[str, ...]] = ("ai-edge-litert",)
    modules: ClassVar[tuple[str, ...]] = ("ai_edge_litert",)

    def missing(self) -> str:
        absent = super().missing()
        return absent or ("" if find_spec("litert_torch") else "no converter: litert-torch is not installed")

    def load(self, case: Case) -> Loaded:
        program, file = case.folder / "network.pt2", case.folder / "network.tflite"
        image = torch.from_numpy(case.image)
        torch.export.save(torch.export.export(case.network, (image,)), program)
        done = subprocess.run([sys.executable, "-c", _CONVERT, program, file], capture_output=True, text=True)
        converted(file, "litert-torch", done.stderr)
        with silence():
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(str(file), num_threads=case.threads)
            interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], case.image)
        last = interpreter.get_output_details()[0]["index"]

        def output() -> np.ndarray:
            interpreter.invoke()
            return np.array(interpreter.get_tensor(last))

        return Loaded(interpreter.invoke, output, file.stat().st_size)
