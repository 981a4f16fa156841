"""How long structured surgery takes, and what the largest network of the zoo needs: seconds and memory.

ResNet-18 loses half of the channels of every group, its graph of channels included. VGG-16 (138 million weights) is
loaded from a file, pruned and packed, each way in a process of its own, whose largest size is taken. Weights are drawn,
not trained: neither time nor memory depends on what they are worth.
"""

from __future__ import annotations

import gc
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
import torch

from camfit import models, zoo
from camfit.bench.machine import Others, this_machine
from camfit.bench.page import percent, table
from camfit.catalog import find
from camfit.data import Normalisation
from camfit.graph import Graph
from camfit.method import Calibration, Planner
from camfit.network import Network
from camfit.pack import pack
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply
from camfit.trace import trace

SHAPE, CLASSES = (3, 224, 224), 1000
GOAL_HALVED, GOAL_SECONDS, GOAL_BYTES = 0.25, 180.0, 6_000_000_000

# Ways to make VGG-16 smaller before it is packed, by the methods in their order.
WAYS: dict[str, tuple[str, ...]] = {
    "half of the channels": (),
    "magnitude pruning": ("magnitude",),
    "magnitude pruning, weight sharing": ("magnitude", "weight-sharing"),
}


class Way(msgspec.Struct, frozen=True):
    """One way of VGG-16 from a file of weights to a packed file.

    Attributes:
        seconds: by stage, in order, of wall-clock time.
        peak_bytes: the process at its largest, Python and torch included.
        packed_bytes: of the file.
    """

    name: str
    seconds: dict[str, float]
    peak_bytes: int
    packed_bytes: int


class Report(msgspec.Struct, frozen=True):
    """Attributes:
    command, processor: what gave the figures, and on what.
    threads: of torch.
    others: share of the processors' time that went to other processes; None where unknown.
    halved_seconds: of each repetition with ResNet-18, wall-clock time.
    channels: of ResNet-18's groups, before.
    """

    command: str
    processor: str
    threads: int
    others: float | None
    halved_seconds: list[float]
    channels: int
    ways: list[Way]


def measure(repeats: int, command: str, progress: Callable[[str], None]) -> Report:
    """Measures everything.

    Args:
        repeats: times that ResNet-18 is halved.
    """
    others = Others()
    network = trace(zoo.build("resnet18", SHAPE, CLASSES), SHAPE)
    channels = sum(len(group) for group in Graph.of(network).groups)
    times = [_seconds_to_halve(network) for _ in range(repeats)]
    progress(f"ResNet-18 halved: {1e3 * float(np.median(times)):.0f} ms (median of {repeats})")
    ways = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "vgg16.pt"
        torch.save(zoo.build("vgg16", SHAPE, CLASSES).state_dict(), weights)
        for name in WAYS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                ways.append(process.submit(_packed, name, weights).result())
            progress(f"VGG-16, {name}: {_total(ways[-1]):.0f} s, {ways[-1].peak_bytes / 1e9:.1f} GB")
    return Report(command, this_machine().processor, torch.get_num_threads(), others.share(), times, channels, ways)


def halved(network: Network) -> Network:
    """The network with every other channel of every group."""
    graph = Graph.of(network)
    edits = tuple(KeepChannels(group.name, tuple(range(0, len(group), 2))) for group in graph.groups)
    return apply(network, Plan("half", edits))


def _seconds_to_halve(network: Network) -> float:
    gc.collect()
    start = time.perf_counter()
    halved(network)
    return time.perf_counter() - start


def _packed(name: str, weights: Path) -> Way:
    """One way, in this process."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[stage] = time.perf_counter() - start

    with timed("load"):
        with torch.device("meta"):
            module = zoo.build("vgg16", SHAPE, CLASSES)
        module.to_empty(device="cpu")
        models.load_weights(module, weights)
        network = trace(module, SHAPE)
        del module
    calibration = Calibration(torch.zeros(1, *SHAPE), torch.zeros(1, dtype=torch.int64), 0)
    if not WAYS[name]:
        with timed("half of the channels"):
            network = halved(network)
    for method in WAYS[name]:
        with timed(method):
            planner = find(method).options()
            assert isinstance(planner, Planner)
            network = apply(network, planner.plan(network, calibration))
    with timed("pack"):
        size = len(pack(network, Normalisation((0.02,) * 3, (-2.0,) * 3)).data)
    return Way(name, seconds, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, size)


def _total(way: Way) -> float:
    return sum(way.seconds.values())


def page(report: Report) -> str:
    """The Markdown page."""
    times = np.array(report.halved_seconds)
    busy = "unknown" if report.others is None else percent(report.others)
    lines = [
        "# Structured surgery: time and memory",
        "",
        f"Command: `{report.command}`. {report.processor}; torch with {report.threads} threads; other processes took "
        f"{busy} of the processors' time.",
        "",
        f"**ResNet-18** (3×224×224), half of all groups' channels ({report.channels:,}) cut, graph included: "
        f"median {1e3 * np.median(times):.0f} ms, slowest {1e3 * times.max():.0f} ms of {len(times)}. "
        f"Goal {1e3 * GOAL_HALVED:.0f} ms: {_verdict(float(np.median(times)) < GOAL_HALVED)}.",
        "",
        f"**VGG-16** from a file of weights to a packed file. Goal {GOAL_SECONDS:.0f} s and {GOAL_BYTES / 1e9:.0f} GB.",
        "",
    ]
    rows = []
    for way in report.ways:
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in way.seconds.items())
        met = _total(way) < GOAL_SECONDS and way.peak_bytes < GOAL_BYTES
        sizes = [f"{_total(way):.1f}", f"{way.peak_bytes / 1e9:.2f}", f"{way.packed_bytes / 1e6:.1f}"]
        rows.append([way.name, stages, *sizes, _verdict(met)])
    head = ["way", "seconds of each stage", "seconds", "GB at most", "file, MB", "goal"]
    return "\n".join([*lines, *table(head, rows)]) + "\n"


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"
