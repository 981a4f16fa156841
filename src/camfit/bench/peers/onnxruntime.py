"""ONNX Runtime, float32 and int8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from camfit.bench.peers.peer import Case, Loaded, Peer


class OnnxRuntime(Peer):
    """Float32, all graph optimisations, run sequentially; input and output bound beforehand, batch fixed to 1.

    ``spinning``: whether threads that wait for work spin, as they do by default, or sleep.
    """

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    tolerance: ClassVar[float] = 1e-4

    def __init__(self, *, spinning: bool = True) -> None:
        self.name = "ONNX Runtime" if spinning else "ONNX Runtime, threads sleep"
        self.least_threads = 1 if spinning else 2  # with one thread there is no pool
        self._spinning = spinning

    def load(self, case: Case) -> Loaded:
        return _session(case.model, case, self._spinning)


class OnnxRuntimeInt8(Peer):
    """Its own static quantization: bytes without sign for values, with sign and a scale a channel for weights (QDQ)."""

    name = "ONNX Runtime int8"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    tolerance: ClassVar[float] = 0.1
    integer: ClassVar[bool] = True

    def load(self, case: Case) -> Loaded:
        return _session(quantized(case.model, case.examples, case.folder), case, True)


def quantized(model: bytes, examples: np.ndarray, folder: Path, method: str = "MinMax") -> bytes:
    """A float model as ONNX Runtime's own quantizer rounds it.

    Args:
        model: as :class:`Case` has it.
        examples: float32 [N, C, H, W], to calibrate with.
        folder: an empty one.
        method: of ``onnxruntime.quantization.CalibrationMethod``.
    """
    import logging

    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(examples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {"input": image[None]}

    float_file, int8_file = folder / "float.onnx", folder / "int8.onnx"
    float_file.write_bytes(model)
    logging.disable(logging.WARNING)  # of a preprocessing that shape inference asks for and folded graphs do not need
    try:
        quantization.quantize_static(
            float_file,
            int8_file,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod[method],
        )
    finally:
        logging.disable(logging.NOTSET)
    return int8_file.read_bytes()


def _session(model: bytes, case: Case, spinning: bool) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_free_dimension_override_by_name("N", 1)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shape: list[Any] = session.get_outputs()[0].shape
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type((1, *shape[1:]), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("input", onnxruntime.OrtValue.ortvalue_from_numpy(case.image))
    binding.bind_ortvalue_output("output", result)

    def call() -> None:
        session.run_with_iobinding(binding)

    def output() -> np.ndarray:
        call()
        return np.asarray(result.numpy())

    return Loaded(call, output, len(model))
