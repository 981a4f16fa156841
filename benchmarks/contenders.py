"""An entry, ready to run in one engine: all are called the same way, from Python, and hold their input already."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from torch import nn

from camfit import _native
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.pack import pack
from camfit.pack.onnx import to_onnx
from subjects import Entry

COMPILE = ("-O3", "-shared", "-fPIC")


@dataclass(frozen=True)
class Contender:
    """Attributes:
    name: engine, and what sets it apart from others of the same subject.
    call: one run.
    output: of one run, in torch's order ([C, H, W] or [F]).
    expected: the same from torch.
    file_bytes: of the file that the engine loads; 0 where there is none.
    """

    name: str
    call: Callable[[], object]
    output: Callable[[], np.ndarray]
    expected: np.ndarray
    file_bytes: int

    def error(self) -> float:
        """The largest difference from torch's output, as a share of the largest output."""
        found = self.output()
        if found.shape != self.expected.shape:
            raise CamfitError(f"{self.name}: output of shape {found.shape}, expected {self.expected.shape}")
        largest = float(np.abs(self.expected).max())
        return float(np.abs(found - self.expected).max()) / max(largest, 1e-30)


def contenders(entry: Entry, threads: int, isas: Sequence[str] = ("auto",)) -> list[Contender]:
    """The entry in its engine: camfit once for each of ``isas``, the instruction sets to force; ONNX Runtime with more
    than one thread twice, with threads that spin and that do not.
    """
    if entry.kind == "camfit":
        return [_camfit(entry, threads, isa) for isa in isas]
    if entry.kind == "plain loop":
        return [_plain_loop(entry)] if threads == 1 else []
    return [_onnxruntime(entry, threads, spinning) for spinning in ((True, False) if threads > 1 else (True,))]


def _camfit(entry: Entry, threads: int, isa: str) -> Contender:
    channels = entry.network.input_shape[0]
    data = pack(entry.network, Normalisation((1.0,) * channels, (0.0,) * channels)).data
    engine = _native.Engine(data, threads, "speed", isa)
    image = np.ascontiguousarray(entry.image[0].permute(1, 2, 0).numpy())  # the engine takes channels last
    expected: np.ndarray = entry.expected().numpy()

    def output() -> np.ndarray:
        found = np.asarray(engine.run(image))
        return found if expected.ndim == 1 else np.asarray(np.moveaxis(found.reshape(engine.output_shape), 2, 0))

    name = _named("camfit" if isa == "auto" else f"camfit {isa}", entry.name)
    return Contender(name, lambda: engine.run(image), output, expected, len(data))


def _onnxruntime(entry: Entry, threads: int, spinning: bool) -> Contender:
    """Input and output bound beforehand, batch dimension fixed: the least that ONNX Runtime can be made to do."""
    model = to_onnx(entry.network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_free_dimension_override_by_name("N", 1)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    expected: np.ndarray = entry.expected().numpy()
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type((1, *expected.shape), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("input", onnxruntime.OrtValue.ortvalue_from_numpy(entry.image.numpy()))
    binding.bind_ortvalue_output("output", result)

    def call() -> None:
        session.run_with_iobinding(binding)

    def output() -> np.ndarray:
        call()
        found: np.ndarray = result.numpy()[0]
        return found

    name = _named("ONNX Runtime", entry.name)
    return Contender(name if spinning else f"{name}, threads sleep", call, output, expected, len(model))


def _plain_loop(entry: Entry) -> Contender:
    """benchmarks/plain_conv.c, compiled here and now."""
    layer = entry.network.get_submodule(entry.network.nodes[0].layer)
    assert isinstance(layer, nn.Conv2d) and layer.stride == (1, 1) and layer.bias is None
    function = _compiled().plain_conv2d
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 6
    function.restype = None
    x = np.ascontiguousarray(entry.image[0].numpy())
    weights = np.ascontiguousarray(layer.weight.detach().numpy())
    expected: np.ndarray = entry.expected().numpy()
    y = np.empty_like(expected)
    sizes = (*x.shape, layer.out_channels, layer.kernel_size[0], int(layer.padding[0]))

    def call() -> None:
        function(x.ctypes.data, weights.ctypes.data, y.ctypes.data, *sizes)

    def output() -> np.ndarray:
        call()
        return y

    return Contender(_named("plain C loop", entry.name), call, output, expected, 0)


def compiler() -> str:
    """Path of the system's C compiler.

    Raises:
        CamfitError: there is none.
    """
    candidates = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    found = next((path for name in candidates if name and (path := shutil.which(name))), None)
    if found is None:
        raise CamfitError("the plain C loop needs a C compiler: found none of cc, gcc, clang; set CC to one")
    return found


def compiler_version() -> str:
    """The first line of the compiler's own account of itself."""
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _compiled() -> ctypes.CDLL:
    source = Path(__file__).with_name("plain_conv.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "plain_conv.so"
        done = subprocess.run([compiler(), *COMPILE, str(source), "-o", str(library)], capture_output=True, text=True)
        if done.returncode:
            raise CamfitError(f"{source.name}: does not compile: {done.stderr.strip()}")
        return ctypes.CDLL(str(library))


def _named(engine: str, variant: str) -> str:
    return f"{engine}, {variant}" if variant else engine
