"""Other toolkits that make an 8-bit network of a trained one without training, each run in its own runtime."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from camfit.bench.peers.onnxruntime import quantized
from camfit.bench.peers.peer import Optional, silence

Run = Callable[[np.ndarray], np.ndarray]


class Quantizer(Optional, ABC):
    """Attributes:
    options: that set it apart from the toolkit's other settings, as it spells them.
    """

    options: dict[str, Any]

    @abstractmethod
    def quantize(self, model: bytes, images: np.ndarray, folder: Path) -> Run:
        """What the toolkit makes of a float network, ready to run.

        Args:
            model: as :class:`camfit.bench.peers.Case` has it.
            images: float32 [N, C, H, W], to calibrate with.
            folder: an empty one, that lives as long as the result.

        Returns:
            A function from images [N, C, H, W] to outputs [N, F]. Whatever goes wrong is an exception of any kind.
        """


class OnnxRuntimeStatic(Quantizer):
    """Static quantization: bytes without sign for values, with sign and a scale a channel for weights (QDQ)."""

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")

    def __init__(self, method: str) -> None:
        self.name = "ONNX Runtime"
        self.options = {"per_channel": True, "calibrate_method": method}

    def quantize(self, model: bytes, images: np.ndarray, folder: Path) -> Run:
        import onnxruntime

        with silence():
            integer = quantized(model, images, folder, self.options["calibrate_method"])
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(integer, settings, providers=["CPUExecutionProvider"])
        return lambda images: np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])


class NNCF(Quantizer):
    """OpenVINO's toolkit, with its own bias correction; ``mixed``: zero points for values that have a sign too."""

    packages: ClassVar[tuple[str, ...]] = ("nncf", "openvino")
    modules: ClassVar[tuple[str, ...]] = ("nncf", "openvino")

    def __init__(self, preset: str) -> None:
        self.name = "OpenVINO, NNCF"
        self.options = {"preset": preset}

    def quantize(self, model: bytes, images: np.ndarray, folder: Path) -> Run:
        os.environ.setdefault("NNCF_CI", "1")  # or it tells its makers that it was used
        import nncf
        import openvino

        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with silence():
            core = openvino.Core()
            integer = nncf.quantize(
                core.read_model(model),
                nncf.Dataset([image[None] for image in images]),
                preset=nncf.QuantizationPreset(self.options["preset"]),
                subset_size=len(images),
            )
            compiled = core.compile_model(integer, "CPU", settings)
        return lambda images: np.concatenate([compiled(image[None])[0] for image in images])


QUANTIZERS: tuple[Quantizer, ...] = (
    OnnxRuntimeStatic("MinMax"),
    OnnxRuntimeStatic("Percentile"),
    OnnxRuntimeStatic("Entropy"),
    NNCF("performance"),
    NNCF("mixed"),
)
