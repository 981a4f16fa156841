"""Times camfit's engine beside other runtimes and a plain loop: one image at a time, interleaved in one process.

Outputs are compared with torch's first. A wrong output of camfit ends the run; a peer that fails or computes something
else is told in its row and not timed.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from camfit import _native
from camfit.bench import resources
from camfit.bench.contender import TOLERANCE, Contender, named, of_camfit, of_peer, of_plain_loop
from camfit.bench.figures import Figure, PeerFound, Ratio, Refused, Report, Row
from camfit.bench.interleave import ROUNDS, Times, interleave, ratios
from camfit.bench.machine import Others, this_machine
from camfit.bench.peers import BASELINE, PEERS, Peer
from camfit.bench.plain_loop import compiler_version
from camfit.bench.subjects import SEED, Entry, Subject, subjects
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.pack import pack


@dataclass(frozen=True)
class Settings:
    """Attributes:
    command: that asks for all this, for the page.
    seconds: of timed calls, for each engine of each row.
    threads: numbers of threads; those beyond the cores are left out.
    isas: instruction sets that camfit is timed with.
    only: subjects whose key contains it.
    peers: time all peers that are installed, not only the baseline.
    resources: measure load times, memory and code size too.
    """

    command: str
    seconds: float = 4.0
    threads: tuple[int, ...] = (1, 2)
    isas: tuple[str, ...] = ("auto",)
    only: str = ""
    peers: bool = False
    resources: bool = False


def measure(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> Report:
    """Compares and times everything, or what ``settings.only`` names.

    Raises:
        CamfitError: nothing has such a name, an output of camfit is wrong, or there is no C compiler.
    """
    chosen = [subject for subject in subjects() if settings.only in subject.key]
    if not chosen:
        raise CamfitError(f"--only {settings.only!r}: expected a part of {', '.join(s.key for s in subjects())}")
    torch.set_num_threads(1)
    machine = this_machine()
    load_before = os.getloadavg()[0]
    asked = PEERS if settings.peers else ()
    usable = [peer for peer in (*BASELINE, *asked) if not peer.missing()]
    rows = [
        _row(subject, threads, settings, usable, progress)
        for threads in settings.threads
        if threads <= machine.cores
        for subject in chosen
    ]
    return Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=settings.command,
        seed=SEED,
        seconds=settings.seconds,
        rounds=ROUNDS,
        tolerance=TOLERANCE,
        machine=machine,
        isa=_isa(),
        compiler=compiler_version(),
        load_before=load_before,
        rows=tuple(rows),
        peers=tuple(_found(peer) for peer in asked),
        resources=resources.measure(chosen, usable, progress) if settings.resources else None,
    )


def _found(peer: Peer) -> PeerFound:
    missing = peer.missing()
    return PeerFound(peer.name, missing=missing) if missing else PeerFound(peer.name, peer.version())


def _row(
    subject: Subject, threads: int, settings: Settings, peers: Sequence[Peer], progress: Callable[[str], None]
) -> Row:
    """One subject with one number of threads; its engines are made for it and gone after it."""
    made: list[Contender] = []
    errors: list[float] = []
    refused: list[Refused] = []
    with tempfile.TemporaryDirectory() as folder:
        for entry in subject.build():
            if entry.kind == "peers":
                rounding = max(
                    (error for one, error in zip(made, errors, strict=True) if one.exact is not None), default=0.0
                )
                for number, peer in enumerate(peers):
                    if threads >= peer.least_threads:
                        found = _tried(entry, peer, threads, Path(folder) / str(number), rounding)
                        if isinstance(found, Refused):
                            refused.append(found)
                        else:
                            made.append(found[0])
                            errors.append(found[1])
                continue
            own = of_camfit(entry, threads, settings.isas) if entry.kind == "camfit" else []
            if entry.kind == "plain loop" and threads == 1:
                own = [of_plain_loop(entry)]
            made += own
            errors += [_checked(subject, contender) for contender in own]
        others = Others()
        times = interleave([contender.call for contender in made], settings.seconds)
    base = next((i for i, contender in enumerate(made) if contender.name.startswith(BASELINE[0].name)), None)
    to = None if base is None else times[base]
    figures = [_figure(made[i], errors[i], times[i], to) for i in range(len(made))]
    row = Row(
        subject.key, subject.title, threads, others.share(), "" if base is None else made[base].name, tuple(figures),
        tuple(refused),
    )  # fmt: skip
    progress(f"{subject.title}, {threads} thread(s): {'; '.join([*map(_told, figures), *map(_why, refused)])}")
    return row


def _tried(
    entry: Entry, peer: Peer, threads: int, folder: Path, rounding: float = 0.0
) -> tuple[Contender, float] | Refused:
    """The peer with its error, or why it is not timed. Another's runtime may raise anything.

    ``rounding``: how far camfit's integers are off torch's output.
    """
    folder.mkdir()
    try:
        contender = of_peer(entry, peer, threads, folder)
        error = contender.error()
    except Exception as failure:
        return Refused(named(peer.name, entry.name), _short(failure))
    if not error <= max(contender.tolerance, 2 * rounding if peer.integer else 0.0):
        return Refused(contender.name, f"wrong: off by {error:.2g} of the largest output")
    return contender, error


def _short(failure: Exception) -> str:
    """The first line of what went wrong, without what a table would take for markup."""
    first = (str(failure).strip() or type(failure).__name__).splitlines()[0].replace("|", "/")
    return first if len(first) <= 100 else f"{first[:99]}…"


def _checked(subject: Subject, contender: Contender) -> float:
    """The contender's error, if it is one to be timed with."""
    wrong = contender.wrong()
    if not wrong <= contender.tolerance:
        whose = "torch's" if contender.exact is None else "that of the plain kernels"
        raise CamfitError(
            f"{subject.title}: the output of {contender.name} is off {whose} by {wrong:.2g} of the largest value; "
            f"expected at most {contender.tolerance:g}, so nothing is timed"
        )
    return contender.error()


def _figure(contender: Contender, error: float, times: Times, baseline: Times | None) -> Figure:
    ratio = None
    if baseline is not None:
        low, middle, high = np.percentile(ratios(times, baseline), (10, 50, 90))
        ratio = Ratio(float(middle), float(low), float(high))
    return Figure(
        name=contender.name,
        median_ms=float(np.median(times.all)),
        p95_ms=float(np.percentile(times.all, 95)),
        calls=len(times.all),
        ratio=ratio,
        error=error,
        file_bytes=contender.file_bytes,
        pause_ms=float(np.median([pause.milliseconds for pause in times.pauses])),
        awake=max(pause.share for pause in times.pauses),
    )


def _told(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f", {figure.ratio.median:.2f}"
    return f"{figure.name} {figure.median_ms:.4g} ms{ratio}"


def _why(refused: Refused) -> str:
    return f"{refused.name} {refused.reason}"


def _isa() -> str:
    """The kernels that camfit's engine chooses here."""
    (nothing, *_) = subjects()
    network = nothing.build()[0].network
    return str(_native.Engine(pack(network, Normalisation((1.0,), (0.0,))).data).isa)
