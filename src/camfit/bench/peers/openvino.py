"""OpenVINO, float32."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from camfit.bench.peers.peer import Case, Loaded, Peer, silence


class OpenVINO(Peer):
    """Compiled for latency in one stream, batch fixed to 1, its input tensor shared."""

    name = "OpenVINO"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    modules: ClassVar[tuple[str, ...]] = ("openvino",)

    def load(self, case: Case) -> Loaded:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": case.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # it takes bfloat16 where the processor has it
        }
        with silence():
            core = openvino.Core()
            model = core.read_model(case.model)
            model.reshape(list(case.image.shape))
            request = core.compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(case.image))

        def output() -> np.ndarray:
            request.infer()
            return np.array(request.get_output_tensor().data)

        return Loaded(request.infer, output, len(case.model))
