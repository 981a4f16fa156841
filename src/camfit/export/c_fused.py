"""Convolutions that are pooled as they are computed, as the engine fuses them (engine/src/fuse_pool.cpp)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from camfit.pack.lower import Op
from camfit.pack.read import Shape

_POOLS = ("max_pool", "avg_pool")


def pools(ops: Sequence[Op], steps: Mapping[int, Sequence[object]]) -> dict[int, int]:
    """The pool of each convolution that is one step with it, by place: of the two, the pool has no step of its own."""
    return {op.inputs[0] - 1: number for number, op in enumerate(ops) if op.op in _POOLS and not steps[number]}


def rows_held(pool: Op, convolved: Shape) -> int:
    """Rows of a convolution's output that one row of its pool reads at most."""
    return min(pool.attributes[0], convolved[0])


def loop(height: int, windows: tuple[str, str], calls: Sequence[str]) -> list[str]:
    """Lines that run the calls for each of ``height`` rows of the pool, given the two layers' windows."""
    return [
        f"for (int32_t row = 0; row < {height}; ++row) {{",
        f"  const pool_band band = next_band({', '.join(windows)}, row, rows);",
        *(f"  {call}" for call in calls),
        "}",
    ]
