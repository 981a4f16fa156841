"""ncnn, float32, by way of pnnx."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from camfit.bench.peers.peer import Case, Loaded, Peer, converted, silence, sizes


class Ncnn(Peer):
    """Its Winograd, packing and light mode as they come; half precision off, in the file too."""

    name = "ncnn"
    packages: ClassVar[tuple[str, ...]] = ("ncnn", "pnnx")
    modules: ClassVar[tuple[str, ...]] = ("ncnn", "pnnx")

    def load(self, case: Case) -> Loaded:
        import ncnn

        parameters, weights = _converted(case)
        net = ncnn.Net()
        net.opt.num_threads = case.threads
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        with silence():
            failed = net.load_param(str(parameters)) or net.load_model(str(weights))
        if failed:
            raise RuntimeError("does not load what pnnx made")
        (first,), (last,) = net.input_names(), net.output_names()
        image = ncnn.Mat(case.image[0]).clone()

        def run() -> tuple[int, Any]:
            extractor = net.create_extractor()
            extractor.input(first, image)
            return extractor.extract(last)  # type: ignore[no-any-return]

        def output() -> np.ndarray:
            status, result = run()
            if status:
                raise RuntimeError(f"a run ends with status {status}")
            return np.array(result)

        return Loaded(run, output, sizes((parameters, weights)))


def _converted(case: Case) -> tuple[Path, Path]:
    """The .param and .bin of the model, by the program inside pnnx: importing the package would do more."""
    spec = find_spec("pnnx")
    assert spec is not None and spec.origin is not None
    model = case.folder / "model.onnx"
    model.write_bytes(case.model)
    shape = ",".join(map(str, case.image.shape))
    done = subprocess.run(
        [Path(spec.origin).with_name("pnnx"), model.name, f"inputshape=[{shape}]", "fp16=0"],
        cwd=case.folder, capture_output=True, text=True,
    )  # fmt: skip
    found = [converted(case.folder / f"model.ncnn.{ending}", "pnnx", done.stderr) for ending in ("param", "bin")]
    return found[0], found[1]
