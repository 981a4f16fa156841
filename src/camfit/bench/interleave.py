"""Times several calls by turns, so that whatever slows the machine down for a while slows all of them.

A round gives each call one block, in an order that moves on from round to round. A block is some calls that do not
count, then single timed calls, then a pause. The pause lasts until the threads behind the call have fallen asleep: a
pool that still spins would hold a core that the next one needs. That is measured, by the processor time of the process.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 20
_SLICE_SECONDS = 0.010
_LEAST_SLICES, _MOST_SLICES = 2, 30
ASLEEP = 0.05  # share of a core over a slice of the pause below which nothing spins
_WARM_UP_SECONDS = 0.005
_LEAST_CALLS = 2


@dataclass(frozen=True)
class Pause:
    """How long it took, in milliseconds, and the share of a core that the process still used at its end."""

    milliseconds: float
    share: float


@dataclass(frozen=True)
class Times:
    """Milliseconds of every timed call, by block, and the pause after each block."""

    blocks: tuple[np.ndarray, ...]
    pauses: tuple[Pause, ...]

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
    pauses: list[list[Pause]] = [[] for _ in calls]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            for step in range(len(calls)):
                turn = (number + step) % len(calls)
                blocks[turn].append(_block(calls[turn], seconds / rounds))
                pauses[turn].append(_pause())
    finally:
        if collecting:
            gc.enable()
    return [Times(tuple(b), tuple(p)) for b, p in zip(blocks, pauses, strict=True)]


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


def _pause() -> Pause:
    """Sleeps until the process uses next to no processor time, or for 0.3 s."""
    start = time.perf_counter()
    share = 1.0
    for number in range(_MOST_SLICES):
        if number >= _LEAST_SLICES and share < ASLEEP:
            break
        used, begin = time.process_time(), time.perf_counter()
        time.sleep(_SLICE_SECONDS)
        share = (time.process_time() - used) / (time.perf_counter() - begin)
    return Pause(1e3 * (time.perf_counter() - start), share)
