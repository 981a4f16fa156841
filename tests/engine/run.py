"""Shorthands of the engine tests."""

import numpy as np

from camfit import _native
from engine.writer import Net


def _isas() -> list[str]:
    """What this machine runs: an instruction set that it lacks is refused."""
    net = Net((1, 1, 1))
    net.add_node("softmax")
    best = _native.Engine(net.encode()).isa
    every = ["plain", "neon"] if best == "neon" else ["plain", "avx2", "avx512"]  # each needs those before it
    return every[: every.index(best) + 1]


ISAS = _isas()
MODES = ["speed", "memory"]


def outputs(
    net: Net | bytes, image: np.ndarray, threads: int = 1, mode: str = "speed", isa: str = "auto"
) -> np.ndarray:
    data = net if isinstance(net, bytes) else net.encode()
    return _native.Engine(data, threads, mode, isa).run(image)


def refusal(data: bytes) -> str:
    """The message with which a file is refused, after the name of its exception."""
    try:
        _native.Engine(data)
    except (_native.FileMalformed, _native.FileUnsupported, _native.OutOfMemory) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("the file was loaded")
