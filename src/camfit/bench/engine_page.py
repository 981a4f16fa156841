"""docs/results/engine.md from the figures of ``camfit bench engine``, and peers.md where it ran beside peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from camfit.bench import resources_page, standing
from camfit.bench.figures import Figure, Report, Row
from camfit.bench.interleave import ASLEEP
from camfit.bench.page import milliseconds, percent, table
from camfit.bench.peers import PEERS

_QUIET = 0.05  # others' share of the processors' time from which a run is called disturbed
_TIE = 0.2
_THREADS = {1: "One thread", 2: "Two threads"}


def name_of(report: Report) -> str:
    """Of the page's files, without their endings."""
    return "peers" if report.peers else "engine"


def render(report: Report) -> str:
    """The page: tables, how they were measured, what they do not show."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# The engine beside {'other runtimes' if report.peers else 'ONNX Runtime'}"
    yield ""
    precision = "" if report.peers or _has_integers(report) else ", float32"
    yield (
        f"Made by `camfit bench engine` from `{name_of(report)}.json`; do not edit. One image at a time{precision}. "
        f"The ratio is time over ONNX Runtime's{'' if precision else ' in float32,'} of the same row (below 1 is "
        f"faster): the median of {report.rounds} rounds, with their 10th and 90th percentile. Take less than "
        f"{100 * _TIE:.0f} % for a tie."
    )
    if report.remark:
        yield ""
        yield f"**{report.remark}**"
    for threads in dict.fromkeys(row.threads for row in report.rows):
        rows = [row for row in report.rows if row.threads == threads]
        yield ""
        yield f"## {_THREADS.get(threads, f'{threads} threads')}"
        yield ""
        if report.peers:
            yield from standing.lines(rows, threads)
            yield ""
        yield from _rows(rows, bool(report.peers))
    yield ""
    yield from _binary_sentence(report)
    if report.resources is not None:
        yield from resources_page.lines(report.resources)
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
    yield " ".join(_limits(report))


def _has_integers(report: Report) -> bool:
    return any("int8" in figure.name for row in report.rows for figure in row.figures)


def _rows(rows: Sequence[Row], errors: bool) -> Iterator[str]:
    """The table; with ``errors`` it tells how far each output is from torch's."""
    head = ["network", "engine", "median ms", "p95 ms", "ratio", "10–90 %", "file bytes"]
    yield from table([*head, "off"] if errors else head, _cells(rows, errors))


def _cells(rows: Sequence[Row], errors: bool) -> Iterator[list[str]]:
    for row in rows:
        for number, figure in enumerate(row.figures):
            ratio = spread = ""
            if figure.name == row.baseline:
                ratio = "1"
            elif figure.ratio is not None:
                ratio, spread = f"{figure.ratio.median:.2f}", f"{figure.ratio.low:.2f}–{figure.ratio.high:.2f}"
            cells = [
                row.title if number == 0 else "",
                figure.name,
                milliseconds(figure.median_ms),
                milliseconds(figure.p95_ms),
                ratio,
                spread,
                f"{figure.file_bytes:,}" if figure.file_bytes else "",
            ]
            yield [*cells, f"{figure.error:.0e}"] if errors else cells
        for refused in row.refused:
            yield ["", refused.name, refused.reason, *[""] * (5 if errors else 4)]


def _binary_sentence(report: Report) -> Iterator[str]:
    """The two speed-ups of the binary convolution side by side: the one against a plain loop is often quoted alone."""
    row = next((row for row in report.rows if row.key == "binary" and row.threads == 1), None)
    if row is None or not row.baseline:
        return
    binary = next(figure for figure in row.figures if figure.name.startswith("camfit"))
    loop = next(figure for figure in row.figures if figure.name.startswith("plain"))
    assert binary.ratio is not None and loop.ratio is not None
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
    there = [f"{peer.name} ({peer.version})" for peer in report.peers if not peer.missing]
    absent = [f"{peer.name} ({peer.missing})" for peer in report.peers if peer.missing]
    if there:
        yield f"- Peers: {', '.join(there)}."
    if absent:
        yield f"- Peers that were not there: {'; '.join(absent)}."
    if report.compiler:
        yield f"- Plain loop: `src/camfit/bench/plain_conv.c`, {report.compiler}."
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
    return f"Other processes used at most {percent(max(shares))} of the processors' time in any row; {load}: {verdict}."


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
    elif report.machine.cores == 1:
        yield "Two threads were not timed: there was one core only."
    yield _asleep(figures)
    yield (
        "Both runtimes are called through their Python bindings at their leanest: camfit's native `Engine.run`, ONNX "
        "Runtime's `run_with_iobinding`, input and output bound beforehand, batch fixed to 1. The row of one ReLU "
        "shows what such a call costs. ONNX Runtime runs sequentially, all graph optimisations on, inter-op 1. Both "
        "get the graph that camfit packs, batch-norm folded; compressed networks reach ONNX Runtime as dense values. "
        "camfit runs in speed mode and normalises its input as well (a multiplication and an addition a value)."
    )
    if report.peers:
        yield _of_peers()
    if _has_integers(report):
        yield (
            "Weights are drawn from a normal distribution, which trained ones resemble: uniform ones use the full "
            "range of an integer far more often, and would cost camfit's int8 kernel for AVX2 extra work that trained "
            "networks do not. Int8 is calibrated on 32 random images, in camfit and in ONNX Runtime (its static "
            "quantization, QDQ, unsigned bytes for values and signed ones for weights, a scale a channel). "
            "An int8 output of camfit must be that of its plain kernels. *off* compares it with the float network: "
            "what rounding costs a network that was not trained and multiplies every rounding from layer to layer. "
            "ONNX Runtime's int8 may be off by 0.1, or by twice what camfit's is, where that is more."
        )
    yield (
        "For the binary convolution the float contenders get the signs of the input and dense ±α weights, so that all "
        "compute the same output; camfit gets the real input and binarizes it. The plain loop is six nested loops over "
        "floats, without blocking; it has one thread and is timed there only."
    )
    yield (
        "Outputs are compared with torch's before anything is timed: the largest difference was "
        f"{max((figure.error for figure in figures if 'int8' not in figure.name), default=0.0):.0e} of the largest "
        f"output{' in float32' if _has_integers(report) else ''}; "
        f"{_refusal(report)}"
    )


def _refusal(report: Report) -> str:
    if not report.peers:
        return f"an engine above {report.tolerance:.0e} is refused."
    bounds = ", ".join(f"{bound:g} {names}" for bound, names in _bounds().items())
    return (
        f"camfit and ONNX Runtime in float32 above {report.tolerance:.0e} are refused, so are the others above their "
        f"bounds ({bounds}): their rows then say *wrong*."
    )


def _bounds() -> dict[float, str]:
    """The peers of each tolerance."""
    by_bound: dict[float, list[str]] = {}
    for peer in PEERS:
        if peer.integer:
            continue
        by_bound.setdefault(peer.tolerance, []).append(peer.name)
    return {bound: "for " + " and ".join(names) for bound, names in by_bound.items()}


def _of_peers() -> str:
    return (
        "The other peers get the same ONNX model (LiteRT the same network from torch, through litert-torch; ncnn "
        "through pnnx; MNN through its converter), batch 1, and are called through their Python bindings with the "
        "input set beforehand, except MNN, whose runs overwrite the input: each begins by copying the image in. All "
        "compute in float32: half precision and bfloat16 are turned off. Their thread pools are "
        "their own and are left to fall asleep in the pauses."
    )


def _limits(report: Report) -> Iterator[str]:
    yield (
        "One processor, warm caches, one image at a time: no batches, no cold start, no energy. Weights are random, so "
        "it says nothing about accuracy; what a compressed or binary network loses is another measurement."
    )
    if not report.peers:
        yield (
            "ONNX Runtime is compared in float32 only: its int8, and other runtimes, may be faster on some of these "
            "networks."
        )
    else:
        yield "Of the peers only ONNX Runtime is timed in int8."
    yield (
        "A binary layer is other arithmetic, not the same convolution made faster: a network must be trained for it. A "
        "plain loop stands for no library."
    )


def _asleep(figures: Sequence[Figure]) -> str:
    slowest = max(figures, key=lambda figure: figure.pause_ms)
    awake = max(figure.awake for figure in figures)
    rule = (
        "A pause lasts until the threads of the engine before are asleep, for a pool that still spins would hold a "
        "core that the next engine needs: 20 ms at least, and until the process uses less than "
        f"{percent(ASLEEP)} of a core. Pauses were longest after {slowest.name}: {slowest.pause_ms:.0f} ms (median)."
    )
    if awake < ASLEEP:
        return rule
    return f"{rule} **Some pauses were given up after 0.3 s, with {percent(awake)} of a core still in use.**"
