"""NP4 and NP5: what integers cost on the base networks, and that fixed point has the same bits everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from camfit.bench import bases
from camfit.bench.bases import Base
from camfit.bench.claims import emulated_arm
from camfit.bench.claims.base_networks import base_of, one_thread, percent
from camfit.bench.claims.claim import Claim, Figures, Progress
from camfit.engine import Engine
from camfit.errors import FileError
from camfit.evaluate import evaluate, predict
from camfit.execute import Workshop
from camfit.method import Planner
from camfit.methods.precision.fixed_point import FixedPoint
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.lower import lower
from camfit.surgery import apply
from camfit.train import Train, train

_AFTER_TRAINING, _TRAINED_ON = 0.5, 0.2  # points of accuracy that may be lost
_TUNING = Train(3, learning_rate=0.002, schedule="cosine", updates=150)

_FLOAT_OPS = ("conv2d", "linear", "affine", "softmax", "add", "global_avg_pool")
_PLATFORMS = {"plain": "plain C++", "avx2": "AVX2", "avx512": "AVX-512"}
_ARM = "64-bit ARM"
_COMPARED, _COMPARED_ON_ARM = 500, 20


def _planned(base: Base, method: Planner, seed: int, progress: Progress) -> Network:
    workshop = Workshop(base.training, base.validation, base.task, seed, progress)
    return apply(base.network, method.plan(base.network, workshop.calibration)).eval()


def _loss(name: str, seed: int, folder: Path, progress: Progress) -> Figures:
    with one_thread():
        base = base_of(name, seed, folder, progress)
        planned = _planned(base, Int8(), seed, progress)
        trained = planned.clone()
        train(
            trained, base.training, base.validation, base.task, _TUNING,
            seed=seed, progress=progress, label=f"{name}, seed {seed}, int8",
        )  # fmt: skip
        better = max((planned, trained), key=lambda network: evaluate(network, base.validation, base.task))

    return {
        "float": percent(base.network, base),
        "int8": percent(planned, base),
        "int8, trained on": percent(better, base),
    }


def _little_is_lost(measured: Sequence[Figures]) -> bool:
    """On every network, in the median over the seeds."""
    return all(
        median(figures[f"{name}: float"] - figures[f"{name}: {which}"] for figures in measured) <= most
        for name in bases.NAMES
        for which, most in (("int8", _AFTER_TRAINING), ("int8, trained on", _TRAINED_ON))
    )


def _bits(name: str, seed: int, folder: Path, progress: Progress) -> Figures:
    with one_thread():
        base = base_of(name, seed, folder, progress)
        network = _planned(base, FixedPoint(), seed, progress)
        expected = predict(network, base.test.inputs[:_COMPARED]).numpy()
    file = pack(network, base.dataset.normalisation).data
    images = base.dataset.test.images[:_COMPARED]
    figures: dict[str, float] = {
        "float, accuracy": percent(base.network, base),
        "fixed point, accuracy": percent(network, base),
        "float ops": sum(op.op in _FLOAT_OPS for op in lower(network)),
        "bytes of the arena": Engine(file).memory["arena_bytes"],
    }  # fmt: skip
    for isa, platform in _PLATFORMS.items():
        try:
            engine = Engine(file, isa=isa)  # type: ignore[arg-type]
        except FileError as error:
            progress(f"{platform}: {error}")
            continue
        figures[_differing(platform)] = differing(engine.run(images), expected)
    try:
        found = emulated_arm.outputs(file, images[:_COMPARED_ON_ARM], progress)
    except emulated_arm.NoArmError as error:
        progress(f"{_ARM}: {error}")
    else:
        figures[_differing(_ARM)] = differing(found.reshape(len(found), -1), expected[:_COMPARED_ON_ARM])
    return figures


def _differing(platform: str) -> str:
    return f"{platform}, outputs that differ"


def differing(found: np.ndarray, expected: np.ndarray) -> int:
    """Outputs whose 32 bits are not the same; the two zeros are."""
    assert found.shape == expected.shape and found.dtype == expected.dtype == np.float32
    return int(((found + 0.0).view(np.uint32) != (expected + 0.0).view(np.uint32)).sum())


def _same_bits(measured: Sequence[Figures]) -> bool | None:
    """In every seed, network and platform; open where one of them was not there."""
    wanted = [f"{name}: {_differing(platform)}" for name in bases.NAMES for platform in (*_PLATFORMS.values(), _ARM)]
    if any(figures.get(name, 0) for figures in measured for name in wanted):
        return False
    return True if all(name in figures for figures in measured for name in wanted) else None


def _parts(measure: Callable[[str, int, Path, Progress], Figures]) -> dict[str, Callable[..., Figures]]:
    return {name: partial(measure, name) for name in bases.NAMES}


CLAIMS = (
    Claim(
        "NP4",
        f"Per-channel int8 loses at most {_AFTER_TRAINING:g} point of float's accuracy after training, and at most "
        f"{_TRAINED_ON:g} when trained on, on every base network.",
        f"Base networks on {bases.DATA}, the method's defaults, 128 training images for calibration; trained on for "
        f"{_TUNING.epochs * _TUNING.updates} steps of {_TUNING.batch_size} images at rates from "
        f"{_TUNING.learning_rate:g} down, where that is better on the validation split. Figures: accuracy in percent "
        "of the packed files on the test split, by the engine; the claim is about the median over the seeds.",
        _parts(_loss), _little_is_lost,
    ),
    Claim(
        "NP5",
        "Fixed point: the packed network gives the bits of the simulated graph by plain C++, AVX2, AVX-512 and on "
        "64-bit ARM.",
        f"Base networks on {bases.DATA}, the method's defaults. All outputs of {_COMPARED} test images against "
        f"torch's, bit by bit; on ARM, emulated by qemu, of {_COMPARED_ON_ARM}. Accuracy in percent on the test "
        "split, by the engine.",
        _parts(_bits), _same_bits,
    ),
)  # fmt: skip
