"""The part of docs/results/engine.md on load time, memory and code size."""

from __future__ import annotations

from collections.abc import Iterator

from camfit.bench.page import milliseconds, table
from camfit.bench.resources import Resources, Use

_HEAD = (
    *("file", "bytes", "loads in ms", "mode memory", "ONNX Runtime", "weights", "arena", "live", "arena / live"),
    *("process grows by", "ONNX Runtime"),
)


def lines(found: Resources) -> Iterator[str]:
    """Headed tables, an empty line behind them."""
    yield "## Load time, memory, code"
    yield ""
    yield (
        "One thread, mode `speed`. *Loads*: from the bytes of a file to an engine ready to run, median; beside it the "
        "same in mode `memory`. *Weights* and "
        "*arena*: bytes that the engine holds. *Live*: the values that must be alive together at some op, which no "
        "plan of the arena can go below (a convolution of bytes that is pooled as it is computed keeps but some rows, "
        "which are in the kernels' work space). *Process grows*: largest "
        "resident memory while a process that has just imported the runtime reads the file, loads it and runs once, "
        "less the resident memory before. ONNX Runtime loads the same network as dense float32."
    )
    yield ""
    yield from table(_HEAD, map(_cells, found.uses), left=1)
    yield ""
    yield from table(("code", "bytes"), ([code.what, f"{code.bytes:,}"] for code in found.code), left=1)
    yield ""
    for note in found.notes:
        yield f"{note}."
        yield ""


def _cells(use: Use) -> list[str]:
    return [
        use.title,
        f"{use.file_bytes:,}",
        milliseconds(use.load_ms),
        milliseconds(use.memory_load_ms),
        "" if use.peer_load_ms is None else milliseconds(use.peer_load_ms),
        f"{use.weights_bytes:,}",
        f"{use.arena_bytes:,}",
        f"{use.live_bytes:,}",
        f"{use.arena_bytes / use.live_bytes:.3f}",
        _bytes(use.grown_bytes),
        _bytes(use.peer_grown_bytes),
    ]


def _bytes(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
