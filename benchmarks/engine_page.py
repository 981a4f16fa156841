"""The figures of benchmarks/engine.py, and the one function that makes docs/results/engine.md of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from interleave import ASLEEP
from machine import Machine

_QUIET = 0.05  # others' share of the processors' time from which a run is called disturbed
_TIE = 0.2
_THREADS = {1: "One thread", 2: "Two threads"}
_LIMITS = (
    "One processor, warm caches, one image at a time: no batches, no cold start, no energy. Weights are random, so it "
    "says nothing about accuracy; what a compressed or binary network loses is another measurement. ONNX Runtime is "
    "compared in float32 only: its int8, and other runtimes, may be faster on some of these networks. A binary layer "
    "is other arithmetic, not the same convolution made faster: a network must be trained for it. A plain loop stands "
    "for no library."
)


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
        ratio: to the row's baseline.
        error: largest difference from torch's output, as a share of the largest output.
        file_bytes: of its file; 0 where there is none.
        pause_ms: median time after its blocks until the process was idle.
        awake: the largest share of a core that the process still used at the end of such a pause.
    """

    name: str
    median_ms: float
    p95_ms: float
    calls: int
    ratio: Ratio
    error: float
    file_bytes: int
    pause_ms: float
    awake: float


class Row(msgspec.Struct, frozen=True):
    """One subject with one number of threads. ``others``: share of all processors' time that other processes used."""

    key: str
    title: str
    threads: int
    others: float | None
    baseline: str
    figures: tuple[Figure, ...]


class Report(msgspec.Struct, frozen=True):
    """A whole run, as docs/results/engine.json holds it."""

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


def render(report: Report) -> str:
    """The page: tables, how they were measured, what they do not show."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield "# The engine beside ONNX Runtime"
    yield ""
    yield (
        "Made by `benchmarks/engine.py` from `engine.json`; do not edit. One image at a time, float32. The ratio is "
        f"time over ONNX Runtime's of the same row (below 1 is faster): the median of {report.rounds} rounds, with "
        f"their 10th and 90th percentile. Take less than {100 * _TIE:.0f} % for a tie."
    )
    for threads in dict.fromkeys(row.threads for row in report.rows):
        yield ""
        yield f"## {_THREADS.get(threads, f'{threads} threads')}"
        yield ""
        yield from _table(row for row in report.rows if row.threads == threads)
    yield ""
    yield from _binary_sentence(report)
    yield "## Where and with what"
    yield ""
    yield from _where(report)
    yield ""
    yield "## How it was measured"
    yield ""
    yield " ".join(_how(report))
    yield ""
    yield "## What it does not show"
    yield ""
    yield _LIMITS


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield "| network | engine | median ms | p95 ms | ratio | 10–90 % | file bytes |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row in rows:
        for number, figure in enumerate(row.figures):
            is_baseline = figure.name == row.baseline
            ratio, spread = f"{figure.ratio.median:.2f}", f"{figure.ratio.low:.2f}–{figure.ratio.high:.2f}"
            cells = [
                row.title if number == 0 else "",
                figure.name,
                _ms(figure.median_ms),
                _ms(figure.p95_ms),
                "1" if is_baseline else ratio,
                "" if is_baseline else spread,
                f"{figure.file_bytes:,}" if figure.file_bytes else "",
            ]
            yield f"| {' | '.join(cells)} |"


def _binary_sentence(report: Report) -> Iterator[str]:
    """The two speed-ups of the binary convolution side by side: the one against a plain loop is often quoted alone."""
    row = next((row for row in report.rows if row.key == "binary" and row.threads == 1), None)
    if row is None:
        return
    binary = next(figure for figure in row.figures if figure.name.startswith("camfit"))
    loop = next(figure for figure in row.figures if figure.name.startswith("plain"))
    over_loop, over_float = loop.ratio.median / binary.ratio.median, 1 / binary.ratio.median
    yield (
        "The binary convolution, binarizing and packing its input included, is "
        f"{over_loop:.0f} times as fast as the plain loop and {over_float:.1f} times as fast as "
        "ONNX Runtime's float convolution (one thread). The first figure says how slow a plain loop is; the second is "
        "the one to count on."
    )
    yield ""


def _where(report: Report) -> Iterator[str]:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield f"- Date: {report.date}. Command: `{report.command}`. Seed of weights and images: {report.seed}."
    yield f"- Processor: {machine.processor}; cores to use: {machine.cores}; {machine.system}."
    yield f"- Its instruction sets, of those that matter here: {', '.join(machine.flags) or 'unknown'}."
    yield f"- {_instruction_sets(report)}"
    yield f"- Versions: {versions}."
    yield f"- Plain loop: `benchmarks/plain_conv.c`, {report.compiler}."
    yield f"- {_quiet(report)}"


def _instruction_sets(report: Report) -> str:
    wide = [flag for flag in report.machine.flags if flag.startswith(("avx512", "amx"))]
    used = f"camfit's engine ran its `{report.isa}` kernels"
    if not wide:
        return f"{used}; the processor has neither AVX-512 nor AMX that ONNX Runtime could use beyond them."
    amx = " and AMX" if any(flag.startswith("amx") for flag in wide) else ""
    unused = "" if report.isa.startswith("avx512") else ", which camfit does not use yet"
    return (
        f"{used}. **This processor also has AVX-512{amx}.** ONNX Runtime takes AVX-512 for float32 of its own accord: "
        f"vectors twice as wide{unused}. On a processor that ends at AVX2 the ratios are others."
    )


def _quiet(report: Report) -> str:
    shares = [row.others for row in report.rows if row.others is not None]
    load = f"load average before the run {report.load_before:.1f}"
    if not shares:
        return f"How busy others kept the machine is unknown; {load}."
    quiet = max(shares) <= _QUIET
    verdict = "the machine was quiet" if quiet else "**the machine was not quiet: do not quote these figures**"
    return (
        f"Other processes used at most {_percent(max(shares))} of the processors' time in any row; {load}: {verdict}."
    )


def _how(report: Report) -> Iterator[str]:
    figures = [figure for row in report.rows for figure in row.figures]
    yield (
        "All engines of a row live in one process and are timed by turns (A B C, B C A, ...). A round gives each one "
        f"block; a row has {report.rounds} rounds and about {report.seconds:g} s of timed calls for each engine. A "
        "block is 5 ms of calls that do not count, then single calls, each timed by itself from Python, then a pause. "
        "Sessions are made for their row and number of threads, and closed after it."
    )
    if any(row.threads > 1 for row in report.rows):
        yield (
            "With one thread ONNX Runtime works in the calling thread and has no pool. With two it is timed twice: as "
            "it comes, with threads that spin while they wait for work, and with `session.intra_op.allow_spinning=0` "
            "(*threads sleep*). Ratios are to the first."
        )
    else:
        yield "Two threads were not timed: there was one core only."
    yield _asleep(figures)
    yield (
        "Both runtimes are called through their Python bindings at their leanest: camfit's native `Engine.run`, ONNX "
        "Runtime's `run_with_iobinding`, input and output bound beforehand, batch fixed to 1. The row of one ReLU "
        "shows what such a call costs. ONNX Runtime runs sequentially, all graph optimisations on, inter-op 1. Both "
        "get the graph that camfit packs, batch-norm folded; compressed networks reach ONNX Runtime as dense values. "
        "camfit runs in speed mode and normalises its input as well (a multiplication and an addition a value)."
    )
    yield (
        "For the binary convolution the float contenders get the signs of the input and dense ±α weights, so that all "
        "compute the same output; camfit gets the real input and binarizes it. The plain loop is six nested loops over "
        "floats, without blocking; it has one thread and is timed there only."
    )
    yield (
        "Outputs are compared with torch's before anything is timed: the largest difference was "
        f"{max((figure.error for figure in figures), default=0.0):.0e} of the largest output; an engine above "
        f"{report.tolerance:.0e} is refused."
    )


def _asleep(figures: Sequence[Figure]) -> str:
    slowest = max(figures, key=lambda figure: figure.pause_ms)
    awake = max(figure.awake for figure in figures)
    rule = (
        "A pause lasts until the threads of the engine before are asleep, for a pool that still spins would hold a "
        "core that the next engine needs: 20 ms at least, and until the process uses less than "
        f"{_percent(ASLEEP)} of a core. Pauses were longest after {slowest.name}: {slowest.pause_ms:.0f} ms (median)."
    )
    if awake < ASLEEP:
        return rule
    return f"{rule} **Some pauses were given up after 0.3 s, with {_percent(awake)} of a core still in use.**"


def _ms(value: float) -> str:
    """Three significant digits, at most four decimals."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
