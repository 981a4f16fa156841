"""What claims about the base networks share: where those are kept, one thread, and the engine's accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from camfit.bench import bases
from camfit.bench.bases import Base
from camfit.bench.claims.claim import Progress
from camfit.engine import Engine
from camfit.measure import accuracy
from camfit.network import Network
from camfit.pack import pack


def base_of(name: str, seed: int, folder: Path, progress: Progress) -> Base:
    """The base network, kept beside the folder of all claims: other measurements use it too.

    Args:
        folder: of the claim's part, ``RUNS/claims/ROW/seed-N/PART``.
    """
    return bases.base(name, seed, folder.parents[3] / "bases", progress)


@contextmanager
def one_thread() -> Iterator[None]:
    """So that a seed ends in the same bits wherever it is measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def percent(network: Network, base: Base) -> float:
    """Accuracy in percent of the packed network on the test split, by the engine."""
    engine = Engine(pack(network, base.dataset.normalisation).data)
    return 100 * accuracy(engine, base.dataset.test, base.task)
