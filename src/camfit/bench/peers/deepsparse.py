"""DeepSparse, float32; no longer developed, and for few versions of Python."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from camfit.bench.peers.peer import Case, Loaded, Peer, silence


class DeepSparse(Peer):
    """Batch 1, compiled for the given number of cores."""

    name = "DeepSparse"
    packages: ClassVar[tuple[str, ...]] = ("deepsparse",)
    modules: ClassVar[tuple[str, ...]] = ("deepsparse",)

    def load(self, case: Case) -> Loaded:
        model = case.folder / "model.onnx"
        model.write_bytes(case.model)
        with silence():
            import deepsparse

            if not hasattr(deepsparse, "compile_model"):
                raise RuntimeError("this version is an empty package")
            engine = deepsparse.compile_model(str(model), batch_size=1, num_cores=case.threads)
        images = [case.image]
        return Loaded(lambda: engine.run(images), lambda: np.asarray(engine.run(images)[0]), len(case.model))
