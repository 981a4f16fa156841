"""What ``camfit bench engine`` finds, as engine.json holds it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from camfit.bench.machine import Machine
from camfit.bench.resources import Resources
from camfit.errors import CamfitError


class Ratio(msgspec.Struct, frozen=True):
    """Time over the row's baseline: median of the rounds, and their 10th and 90th percentile."""

    median: float
    low: float
    high: float


class Figure(msgspec.Struct, frozen=True):
    """One contender of a row.

    Attributes:
        name: engine and variant.
        median_ms, p95_ms: over all timed calls.
        calls: how many these are.
        ratio: to the row's baseline; None where there is no baseline.
        error: largest difference from torch's output, as a share of the largest output.
        file_bytes: of its file; 0 where there is none.
        pause_ms: median time after its blocks until the process was idle.
        awake: the largest share of a core that the process still used at the end of such a pause.
    """

    name: str
    median_ms: float
    p95_ms: float
    calls: int
    ratio: Ratio | None
    error: float
    file_bytes: int
    pause_ms: float
    awake: float


class Refused(msgspec.Struct, frozen=True):
    """A peer that was not timed, and why: it failed, or its output was wrong."""

    name: str
    reason: str


class Row(msgspec.Struct, frozen=True):
    """One subject with one number of threads.

    Attributes:
        others: share of all processors' time that other processes used; None where the system does not say.
        baseline: name of the contender that ratios are to; empty where it is not installed.
    """

    key: str
    title: str
    threads: int
    others: float | None
    baseline: str
    figures: tuple[Figure, ...]
    refused: tuple[Refused, ...] = ()


class PeerFound(msgspec.Struct, frozen=True):
    """A peer that was looked for: its version, or why it was not there."""

    name: str
    version: str = ""
    missing: str = ""


class Report(msgspec.Struct, frozen=True):
    """A whole run. ``peers``: those beyond the baseline, where they were asked for. ``remark``: what a reader must know
    that the figures do not tell, written by hand.
    """

    date: str
    command: str
    seed: int
    seconds: float
    rounds: int
    tolerance: float
    machine: Machine
    isa: str
    compiler: str
    load_before: float
    rows: tuple[Row, ...]
    peers: tuple[PeerFound, ...] = ()
    resources: Resources | None = None
    remark: str = ""


def encode(report: Report) -> bytes:
    """A JSON file."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def read(path: Path) -> Report:
    """The report in a file.

    Raises:
        CamfitError: there is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise CamfitError(f"{path}: not the figures of `camfit bench engine` ({error})") from error
