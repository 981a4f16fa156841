"""Times camfit's engine beside ONNX Runtime and a plain loop: one image at a time, one thread and two, interleaved.

    python benchmarks/engine.py [--seconds S] [--isa SET ...] [--only TEXT] [--write] [--render]

Outputs are compared with torch's first; a contender that computes something else is refused. Prints the page, and with
--write saves it as docs/results/engine.md beside its figures, docs/results/engine.json.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from camfit import _native
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.pack import pack
from contenders import COMPILE, Contender, compiler_version, contenders
from engine_page import Figure, Ratio, Report, Row, render
from interleave import ROUNDS, Times, interleave, ratios
from machine import Others, this_machine
from subjects import SEED, Subject, subjects

_THREADS = (1, 2)
_TOLERANCE = 1e-4
_SECONDS = 4.0
_RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def measure(seconds: float, isas: Sequence[str] = ("auto",), only: str = "") -> Report:
    """Compares and times everything, or the subjects whose key contains ``only``; progress goes to stderr.

    ``isas``: the instruction sets that camfit is timed with.

    Raises:
        CamfitError: an engine's output is wrong, or there is no compiler.
    """
    torch.set_num_threads(1)
    machine = this_machine()
    load_before = os.getloadavg()[0]
    rows = [
        _row(subject, threads, seconds, isas)
        for threads in _THREADS
        if threads <= machine.cores
        for subject in subjects()
        if only in subject.key
    ]
    return Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=f"python benchmarks/engine.py --seconds {seconds:g} --isa {' '.join(isas)} --write",
        seed=SEED,
        seconds=seconds,
        rounds=ROUNDS,
        tolerance=_TOLERANCE,
        machine=machine,
        isa=_isa(),
        compiler=f"{compiler_version()}, {' '.join(COMPILE)}",
        load_before=load_before,
        rows=tuple(rows),
    )


def _row(subject: Subject, threads: int, seconds: float, isas: Sequence[str]) -> Row:
    """One subject with one number of threads; its engines are made for it and gone after it."""
    made = [contender for entry in subject.build() for contender in contenders(entry, threads, isas)]
    errors = [_checked(subject, contender) for contender in made]
    others = Others()
    times = interleave([contender.call for contender in made], seconds)
    baseline = next(i for i, contender in enumerate(made) if contender.name.startswith("ONNX Runtime"))
    figures = [_figure(made[i], errors[i], times[i], times[baseline]) for i in range(len(made))]
    row = Row(subject.key, subject.title, threads, others.share(), made[baseline].name, tuple(figures))
    told = "; ".join(f"{figure.name} {figure.median_ms:.4g} ms, {figure.ratio.median:.2f}" for figure in figures)
    print(f"{subject.title}, {threads} thread(s): {told}", file=sys.stderr)
    return row


def _checked(subject: Subject, contender: Contender) -> float:
    """The contender's error, if it is one to be timed with."""
    error = contender.error()
    if not error <= _TOLERANCE:
        raise CamfitError(
            f"{subject.title}: the output of {contender.name} is off torch's by {error:.2g} of the largest value; "
            f"expected at most {_TOLERANCE:g}, so nothing is timed"
        )
    return error


def _figure(contender: Contender, error: float, times: Times, baseline: Times) -> Figure:
    by_round = ratios(times, baseline)
    low, middle, high = np.percentile(by_round, (10, 50, 90))
    return Figure(
        name=contender.name,
        median_ms=float(np.median(times.all)),
        p95_ms=float(np.percentile(times.all, 95)),
        calls=len(times.all),
        ratio=Ratio(float(middle), float(low), float(high)),
        error=error,
        file_bytes=contender.file_bytes,
        pause_ms=float(np.median([pause.milliseconds for pause in times.pauses])),
        awake=max(pause.share for pause in times.pauses),
    )


def _isa() -> str:
    """The kernels that camfit's engine chooses here."""
    (nothing, *_) = subjects()
    network = nothing.build()[0].network
    return str(_native.Engine(pack(network, Normalisation((1.0,), (0.0,))).data).isa)


def _read(figures: Path) -> Report:
    try:
        return msgspec.json.decode(figures.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise CamfitError(f"{figures.name}: not the figures of this benchmark ({error})") from error


def main() -> int:
    """The command line; 1 for an expected error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of timed calls: each engine of each row")
    parser.add_argument("--isa", nargs="+", choices=("auto", "plain", "avx2", "avx512", "neon"), default=["auto"])
    parser.add_argument("--only", default="", metavar="TEXT", help="subjects whose key contains TEXT")
    parser.add_argument("--write", action="store_true", help="save docs/results/engine.md and engine.json")
    parser.add_argument("--render", action="store_true", help="measure nothing; make engine.md anew from engine.json")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write saves the whole page; leave --only out")
    figures, page = _RESULTS / "engine.json", _RESULTS / "engine.md"
    try:
        report = _read(figures) if options.render else measure(options.seconds, options.isa, options.only)
    except (CamfitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = render(report)
    print(text)
    if options.write or options.render:
        _RESULTS.mkdir(parents=True, exist_ok=True)
        figures.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
