"""How long int8 (NP4) takes to plan ResNet-18 from 128 images, beside one forward pass over the same images."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import torch
from torch import Tensor

from camfit.bench.machine import Machine, Others, this_machine
from camfit.bench.page import table
from camfit.large_blocks import keep_large_blocks
from camfit.method import Calibration
from camfit.methods.precision.calibration import Rule
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.trace import trace
from camfit.zoo import resnet18

GOAL = 4.0  # seconds
_SIDE, _CLASSES = 224, 1000
_BATCH = 8
_RULES: tuple[Rule, ...] = ("mse", "min-max")


class Timing(msgspec.Struct, frozen=True):
    """Seconds of one piece of work in each round: on the clock, and of all processors together."""

    name: str
    seconds: list[float]
    processor_seconds: list[float]


class Report(msgspec.Struct, frozen=True):
    """The forward pass first, then planning by each rule for ranges.

    Attributes:
        others: share of the processors' time that went to other processes, 0 to 1; None where the system does not say.
    """

    command: str
    date: str
    images: int
    threads: int
    machine: Machine
    others: float | None
    timings: list[Timing]


def measure(
    images: int, threads: int, rounds: int, command: str, progress: Callable[[str], None] = lambda line: None
) -> Report:
    """Times the forward pass and planning by turns, after one of each that does not count.

    Time depends on neither weights nor pixels: both are random. Memory is kept as ``camfit fit`` and ``apply`` keep it.
    """
    keep_large_blocks()
    network = trace(resnet18.build((3, _SIDE, _SIDE), _CLASSES), (3, _SIDE, _SIDE)).eval()
    inputs = torch.randn(images, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    calibration = Calibration(inputs, torch.zeros(images, dtype=torch.int64))
    work: dict[str, Callable[[], object]] = {"forward pass": lambda: _forward(network, inputs)}
    for rule in _RULES:
        work[f"int8, {rule}"] = lambda rule=rule: Int8(calibration=rule).plan(network, calibration)  # type: ignore[misc]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for call in work.values():
            call()
        others = Others()
        timings = {name: Timing(name, [], []) for name in work}
        for number in range(rounds):
            for name, call in work.items():
                clock, processor = time.perf_counter(), time.process_time()
                call()
                timings[name].seconds.append(time.perf_counter() - clock)
                timings[name].processor_seconds.append(time.process_time() - processor)
                progress(f"round {number + 1} of {rounds}: {name} {timings[name].seconds[-1]:.2f} s")
    finally:
        torch.set_num_threads(before)
    return Report(
        command, datetime.now(UTC).date().isoformat(), images, threads, this_machine(), others.share(),
        list(timings.values()),
    )  # fmt: skip


@torch.inference_mode()
def _forward(network: Network, inputs: Tensor) -> None:
    for batch in inputs.split(_BATCH):
        network(batch)


def page(report: Report) -> str:
    """docs/results/calibration.md; of all rounds the fastest counts, as only other work can make one slower."""
    forward = min(report.timings[0].seconds)
    default = next(timing for timing in report.timings if timing.name == "int8, mse")
    met = "met" if min(default.seconds) < GOAL else "not met"
    machine = report.machine
    busy = "" if report.others is None else f", of whose time others took {report.others:.0%}"
    return "\n".join(
        [
            "# Time that int8 takes to plan",
            "",
            f"ResNet-18 at {_SIDE}x{_SIDE}, {report.images} calibration images, {report.threads} threads: the plan's",
            "ranges, scales and corrected biases, in seconds of the fastest of",
            f"{len(default.seconds)} rounds by turns. *Forward pass* is the network as it is, in batches of {_BATCH}.",
            "",
            *table(
                ("", "seconds", "over a forward pass", "processor seconds", "seconds of each round"),
                (
                    (
                        timing.name,
                        f"{min(timing.seconds):.2f}",
                        f"{min(timing.seconds) / forward:.2f}",
                        f"{min(timing.processor_seconds):.2f}",
                        ", ".join(f"{seconds:.2f}" for seconds in timing.seconds),
                    )
                    for timing in report.timings
                ),
                left=1,
            ),
            "",
            f"Goal: below {GOAL:g} s with the default; {met}.",
            "",
            f"Command: `{report.command}`. {report.date}. {machine.processor}, {machine.cores} cores{busy}. Versions: "
            + ", ".join(f"{name} {version}" for name, version in machine.versions.items())
            + ".",
            "",
        ]
    )
