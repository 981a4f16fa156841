"""What a packed file does on this machine: accuracy, bytes, milliseconds, peak memory. Nothing here is an estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from camfit.data import Split
from camfit.engine import Engine
from camfit.errors import DataError
from camfit.tasks import Task

_WARM_UP = 10
_SECONDS = 1.0


class Measurement(msgspec.Struct, frozen=True):
    """Figures of one packed file.

    Attributes:
        accuracy: the task's metric of the engine's own outputs, in [0, 1].
        images: how many images the metric was taken on.
        bytes: the file's length.
        ms_median, ms_p95: milliseconds a run, one image at a time.
        threads: of the engine.
        peak_bytes: the most memory that the engine held, loading included.
        macs: multiply-accumulates of one image on the stored form (pruned weights not counted).
        params: values that the file stores: non-zero weights, buckets, biases; shared ones counted at every use but
        hashed. isa: instruction set in use.
    """

    accuracy: float
    images: int
    bytes: int
    ms_median: float
    ms_p95: float
    threads: int
    peak_bytes: int
    macs: int
    params: int
    isa: str


class LayerMeasurement(msgspec.Struct, frozen=True):
    """One layer of a packed file: stored bytes and parameters, multiply-accumulates, median milliseconds."""

    name: str
    op: str
    form: str
    bytes: int
    params: int
    macs: int
    ms: float


def accuracy(engine: Engine, split: Split, task: Task) -> float:
    """The task's metric of the engine on a split of raw images."""
    height, width, channels = engine.input_shape
    if split.images.shape[1:] != (height, width, channels):
        raise DataError(
            f"{engine.source}: takes images of {height}x{width}x{channels}; "
            f"the data has {'x'.join(map(str, split.images.shape[1:]))}"
        )
    outputs = np.concatenate([engine.run(part) for part in np.array_split(split.images, max(1, len(split) // 1000))])
    return float(task.metric(outputs, split.labels))


def milliseconds(engine: Engine, image: np.ndarray, seconds: float = _SECONDS) -> np.ndarray:
    """Milliseconds of single runs, for about ``seconds`` after a warm-up (20 to 2,000 runs)."""
    first = engine.time(image, _WARM_UP)
    runs = int(min(2000, max(20, seconds * 1e9 / max(1.0, float(np.median(first))))))
    return engine.time(image, runs) / 1e6


def measure(
    file: str | Path | bytes, split: Split, task: Task, *, threads: int = 1, seconds: float = _SECONDS
) -> Measurement:
    """Loads a packed file and measures it on a split.

    Args:
        file: path or bytes of a ``.camfit`` file.
        split: raw images and labels; the first image is the one that is timed.
        threads: of the engine.
        seconds: about how long to time.
    """
    engine = Engine(file, threads=threads)
    metric = accuracy(engine, split, task)  # first: it says where the images do not fit
    times = milliseconds(engine, split.images[0], seconds)
    layers = engine.layers
    memory = engine.memory
    return Measurement(
        accuracy=metric,
        images=len(split),
        bytes=engine.bytes,
        ms_median=float(np.median(times)),
        ms_p95=float(np.percentile(times, 95)),
        threads=threads,
        peak_bytes=max(memory["load_peak_bytes"], memory["total_bytes"]),
        macs=sum(int(layer["macs"]) for layer in layers),
        params=sum(int(layer["params"]) for layer in layers),
        isa=engine.isa,
    )


def measure_layers(file: str | Path | bytes, image: np.ndarray, *, threads: int = 1) -> list[LayerMeasurement]:
    """Figures of each layer of a packed file, timed on one raw image."""
    engine = Engine(file, threads=threads)
    times = engine.profile(image)
    return [_layer(layer, ms) for layer, ms in zip(engine.layers, times, strict=True)]


def _layer(layer: dict[str, Any], ms: float) -> LayerMeasurement:
    return LayerMeasurement(
        layer["name"],
        layer["op"],
        layer["form"],
        int(layer["stored_bytes"]),
        int(layer["params"]),
        int(layer["macs"]),
        ms,
    )
