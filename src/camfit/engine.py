"""Loads and runs a ``.camfit`` file: a thin hand on the native engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from camfit import _native
from camfit.errors import FileError

Mode = Literal["speed", "memory"]
Isa = Literal["auto", "plain", "avx2", "avx512", "neon"]


class Engine:
    """A packed network, ready to run.

    Args:
        file: path of a ``.camfit`` file, or its bytes.
        threads: 1 or more.
        mode: ``speed`` decodes compressed weights once at load where that runs faster; ``memory`` keeps them in their
            form.
        isa: instruction set; ``auto`` takes the best one present, a forced one that is missing is refused.

    Raises:
        FileError: the file is damaged, or needs an op, form or instruction set that is not there. Names the file and
            what was found.

    One engine may be shared by threads (its runs then queue); two engines run at once. The interpreter lock is
    released.
    """

    def __init__(self, file: str | Path | bytes, *, threads: int = 1, mode: Mode = "speed", isa: Isa = "auto") -> None:
        self.source = "packed network" if isinstance(file, bytes) else str(file)
        try:
            data = file if isinstance(file, bytes) else Path(file).read_bytes()
        except OSError as error:
            raise FileError(f"{self.source}: cannot be read: {error.strerror or error}") from error
        self.bytes = len(data)
        self.threads = threads
        try:
            self._engine = _native.Engine(data, threads, mode, isa)
        except (ValueError, MemoryError) as error:
            raise FileError(f"{self.source}: {error}") from error

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        return tuple(self._engine.input_shape)  # type: ignore[return-value]

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one output; a vector is (1, 1, channels)."""
        return tuple(self._engine.output_shape)  # type: ignore[return-value]

    @property
    def info(self) -> dict[str, Any]:
        """The file's INFO section: model, data, classes."""
        try:
            value = json.loads(self._engine.info)
        except ValueError as error:
            raise FileError(f"{self.source}: INFO is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise FileError(f"{self.source}: INFO holds {type(value).__name__}, expected an object")
        return value

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return str(self._engine.isa)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the engine holds: weights, arena, scratch, total, and the peak while loading."""
        return dict(self._engine.memory)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Layers in execution order: name, op, form, stored_bytes, params, macs, ns (of the last profiled run)."""
        return list(self._engine.layers)

    @property
    def plan(self) -> list[tuple[int, int, int, int]]:
        """The steps of a run in order, several or none a layer: (layer, in, other, out), places in the arena in bytes.

        ``other`` is the second input of a sum, or what goes along with packed signs (engine/src/prepare.cpp). A pool
        without a step is part of the step of the convolution before it, whose ``out`` is then the pool's.
        """
        return list(self._engine.plan)

    @property
    def ends(self) -> tuple[int, int]:
        """Where the network's input and output lie in the arena, in bytes."""
        return self._engine.ends

    def run(self, images: np.ndarray) -> np.ndarray:
        """Outputs float32 for raw images.

        Args:
            images: uint8 (or float32 on the scale of the raw data) [H, W, C], [H, W] for grey, or a batch of these.

        Returns:
            [classes] or [N, classes] for a vector output, else [(N,) H, W, C].

        Raises:
            FileError: the images do not have the network's input shape.
        """
        height, width, channels = self.input_shape
        array = np.asarray(images)
        one = (height, width, channels)
        if array.dtype != np.uint8:
            array = array.astype(np.float32)
        grey = channels == 1 and array.ndim >= 2 and array.shape[-2:] == (height, width) and array.shape[-1:] != (1,)
        if grey:
            array = array[..., None]
        single = array.shape == one
        if single:
            array = array[None]
        if array.ndim != 4 or array.shape[1:] != one or not len(array):
            raise FileError(
                f"{self.source}: images of shape {list(np.shape(images))}; expected {list(one)} or a batch of them"
            )
        outputs = np.asarray(self._engine.run(np.ascontiguousarray(array)))
        if self.output_shape[:2] == (1, 1):
            outputs = outputs.reshape(len(outputs), -1)
        return outputs[0] if single else outputs

    def time(self, image: np.ndarray, runs: int) -> np.ndarray:
        """Nanoseconds of each of ``runs`` runs on one image, taken inside the engine.

        Raises:
            FileError: the image does not have the network's input shape.
        """
        array = np.asarray(image)
        if array.size != np.prod(self.input_shape):
            raise FileError(f"{self.source}: an image of shape {list(array.shape)}; expected {list(self.input_shape)}")
        array = array.reshape(self.input_shape)
        array = array if array.dtype == np.uint8 else array.astype(np.float32)
        return np.asarray(self._engine.time_runs(np.ascontiguousarray(array), runs))

    def profile(self, image: np.ndarray, runs: int = 50) -> list[float]:
        """Median milliseconds of each layer over ``runs`` runs on one image, in the order of :attr:`layers`."""
        self._engine.profile(True)
        try:
            times = []
            for _ in range(runs):
                self.run(image)
                times.append([layer["ns"] for layer in self._engine.layers])
        finally:
            self._engine.profile(False)
        return [float(value) / 1e6 for value in np.median(np.array(times), axis=0)]
