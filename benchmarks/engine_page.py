"""The figures of benchmarks/engine.py, and the one function that makes docs/results/engine.md of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from machine import Machine

_QUIET = 0.05  # others' share of the processors' time from which a run is called disturbed
_TIE = 0.2


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
        idle_share: of a core, used by the process 20 to 30 ms after this contender's blocks.
    """

    name: str
    median_ms: float
    p95_ms: float
    calls: int
    ratio: Ratio
    error: float
    file_bytes: int
    idle_share: float


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
    pause_ms: float
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
    yield "Made by `benchmarks/engine.py` from `engine.json`; do not edit. One image at a time, float32, milliseconds a run."
    yield f"The ratio is time over ONNX Runtime's of the same row (below 1 is faster), the median of {report.rounds} rounds with their"
    yield f"10th and 90th percentile; take less than {_TIE:.0%} for a tie."
    for threads in dict.fromkeys(row.threads for row in report.rows):
        yield ""
        yield f"## {_counted(threads, 'thread')}"
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
    yield _how(report)
    yield ""
    yield "## What it does not show"
    yield ""
    yield _limits(report)


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
    """The two speed-ups of the binary convolution side by side, because only one of them is ever quoted."""
    row = next((row for row in report.rows if row.key == "binary" and row.threads == 1), None)
    if row is None:
        return
    binary = next(figure for figure in row.figures if figure.name.startswith("camfit"))
    loop = next(figure for figure in row.figures if figure.name.startswith("plain"))
    yield (
        f"The binary convolution, binarizing and packing its input included, takes 1/{loop.median_ms / binary.median_ms:.0f} of the plain "
        f"loop's time and 1/{1 / binary.ratio.median:.1f} of ONNX Runtime's float convolution's (one thread). The first figure says how slow a "
        "plain loop is; the second is the one to count on."
    )
    yield ""


def _where(report: Report) -> Iterator[str]:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield f"- Date: {report.date}. Command: `{report.command}`. Seed of weights and images: {report.seed}."
    yield f"- Processor: {machine.processor}, {_counted(machine.cores, 'core')}, {machine.system}."
    yield f"- Its instruction sets, of those that matter here: {', '.join(machine.flags) or 'unknown'}."
    yield f"- {_instruction_sets(report)}"
    yield f"- Versions: {versions}. Plain loop: `benchmarks/plain_conv.c`, {report.compiler}."
    yield f"- {_quiet(report)}"


def _instruction_sets(report: Report) -> str:
    wide = [flag for flag in report.machine.flags if flag.startswith(("avx512", "amx"))]
    used = f"camfit's engine ran its `{report.isa}` kernels"
    if not wide:
        return f"{used}. The processor has neither AVX-512 nor AMX, so both engines have the same instructions to work with."
    amx = any(flag.startswith("amx") for flag in wide)
    return (
        f"{used}, the widest that it has. **This processor also has AVX-512{' and AMX' if amx else ''}**, and ONNX Runtime takes AVX-512 for "
        "float32 by itself: vectors twice as wide, which camfit does not use yet. On a processor that ends at AVX2 the ratios are others."
    )


def _quiet(report: Report) -> str:
    shares = [row.others for row in report.rows if row.others is not None]
    load = f"load average {report.load_before:.1f} before the run"
    if not shares:
        return f"How busy others kept the machine is unknown; {load}."
    worst = max(shares)
    verdict = (
        "the machine was quiet" if worst <= _QUIET else "**the machine was not quiet; do not quote these figures**"
    )
    return f"Other processes used at most {worst:.1%} of the processors' time during any row, {load}: {verdict}."


def _how(report: Report) -> str:
    figures = [figure for row in report.rows for figure in row.figures]
    idle = max((figure.idle_share for figure in figures), default=0.0)
    two = any(row.threads > 1 for row in report.rows)
    threads = (
        "With one thread ONNX Runtime works in the calling thread and has no pool. With two it is timed twice: with its default, whose threads "
        "spin while they wait for work, and as `threads sleep` (`session.intra_op.allow_spinning=0`). "
        if two
        else "Only one core was there, so two threads were not timed. "
    )
    return (
        "All engines of a row live in one process and are timed by turns (A B C, B C A, ...): a round gives each one block, "
        f"{report.rounds} rounds a row, about {report.seconds:g} s of timed calls for each engine. A block is a pause of {report.pause_ms:.0f} ms, "
        "5 ms of calls that do not count, then single calls, each timed by itself from Python. Sessions are made for their row and "
        f"thread count and closed after it. {threads}"
        f"At the end of the pauses the whole process used {idle:.1%} of a core (median, the worst engine), so no engine's waiting threads "
        "stood in another's way. Both runtimes are called through their Python bindings at their leanest: camfit's native `Engine.run`, ONNX "
        "Runtime's `run_with_iobinding` with input and output bound beforehand and the batch fixed to 1; the row of one ReLU shows what such a "
        "call costs. ONNX Runtime: sequential execution, all graph optimisations, inter-op 1. Both get one graph: camfit's own, "
        "batch-norm folded, written as ONNX; compressed networks reach ONNX Runtime with their dense values. camfit runs in speed mode and "
        "also normalises its input (multiply and add per value), which the others do not. For the binary convolution the float "
        "contenders get the signs of the input and dense ±α weights, so that all compute the same output; camfit gets the real input. The plain "
        "loop is six nested loops over floats, no blocking, one thread. Outputs were compared with torch's before timing: the largest "
        f"difference of any engine was {max((figure.error for figure in figures), default=0.0):.1g} of its largest output; above "
        f"{report.tolerance:g} nothing is timed."
    )


def _limits(report: Report) -> str:
    return (
        "One processor, warm caches, one image at a time: no batches, no cold start, no energy. Weights are random, so it says nothing "
        "about accuracy; for what a compressed or binary network loses see its own report. ONNX Runtime is compared in float32 only: its int8, "
        "and other runtimes, may be faster on some of these networks. camfit computes binary layers with other arithmetic, not a "
        "float convolution faster: a network must be trained for it. A plain loop stands for no library."
    )


def _ms(value: float) -> str:
    """Three significant digits, at most four decimals."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4}f}"


def _counted(count: int, noun: str) -> str:
    words = {1: "One", 2: "Two"}
    return f"{words.get(count, str(count))} {noun}{'' if count == 1 else 's'}"
