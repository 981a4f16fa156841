"""Times several calls by turns, so that whatever slows the machine down for a while slows all of them.

A round gives each call one block, in an order that moves on from round to round. A block is a pause, some calls that do
not count, and then single timed calls. The pause lets the threads of the one before fall asleep: a pool that still
spins would hold a core that the next one needs. How much processor time the process takes at the end of the pause is
measured, not assumed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 20
PAUSE_SECONDS = 0.030
_WATCHED = 1 / 3  # of the pause, its end
_WARM_UP_SECONDS = 0.005
_LEAST_CALLS = 2


@dataclass(frozen=True)
class Times:
    """Milliseconds of every timed call, by block; ``idle``: share of a core in use at the end of the pauses after."""

    blocks: tuple[np.ndarray, ...]
    idle: tuple[float, ...]

    @property
    def all(self) -> np.ndarray:
        """Milliseconds of all calls."""
        return np.concatenate(self.blocks)

    @property
    def medians(self) -> np.ndarray:
        """The median of each block."""
        return np.array([np.median(block) for block in self.blocks])


def interleave(calls: Sequence[Callable[[], object]], seconds: float, rounds: int = ROUNDS) -> list[Times]:
    """Times each call for about ``seconds``, spread over ``rounds`` blocks; results in the order of ``calls``."""
    blocks: list[list[np.ndarray]] = [[] for _ in calls]
    idle: list[list[float]] = [[] for _ in calls]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            for step in range(len(calls)):
                turn = (number + step) % len(calls)
                blocks[turn].append(_block(calls[turn], seconds / rounds))
                idle[turn].append(_pause())
    finally:
        if collecting:
            gc.enable()
    return [Times(tuple(b), tuple(i)) for b, i in zip(blocks, idle, strict=True)]


def ratios(of: Times, to: Times) -> np.ndarray:
    """Median time of the one over that of the other, round by round."""
    return np.asarray(of.medians / to.medians)


def _block(call: Callable[[], object], seconds: float) -> np.ndarray:
    clock = time.perf_counter_ns
    end = clock() + int(_WARM_UP_SECONDS * 1e9)
    call()
    while clock() < end:
        call()
    taken: list[int] = []
    end = clock() + int(seconds * 1e9)
    while clock() < end or len(taken) < _LEAST_CALLS:
        start = clock()
        call()
        taken.append(clock() - start)
    return np.array(taken) / 1e6


def _pause() -> float:
    """Sleeps; returns the share of one core that this process's threads used towards the end."""
    time.sleep(PAUSE_SECONDS * (1 - _WATCHED))
    used, start = time.process_time(), time.perf_counter()
    time.sleep(PAUSE_SECONDS * _WATCHED)
    return (time.process_time() - used) / (time.perf_counter() - start)
