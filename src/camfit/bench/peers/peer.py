"""What every peer can do: say whether it is there, and turn an ONNX model into a call."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn


@dataclass(frozen=True)
class Case:
    """What a peer gets.

    Attributes:
        model: an ONNX model with one input, ``input`` [N, C, H, W], and one output, ``output``; N is free.
        network: the same in torch, for a converter that starts there.
        image: float32 [1, C, H, W], the input of all runs.
        examples: float32 [N, C, H, W], for those that calibrate.
        threads: to compute with.
        folder: an empty one, that lives as long as what the peer makes of this.
    """

    model: bytes
    network: nn.Module
    image: np.ndarray
    examples: np.ndarray
    threads: int
    folder: Path


@dataclass(frozen=True)
class Loaded:
    """A network in a peer, its input set.

    Attributes:
        call: one run.
        output: of one run, with or without the batch dimension.
        file_bytes: of the peer's own files of the network.
    """

    call: Callable[[], object]
    output: Callable[[], np.ndarray]
    file_bytes: int


class Optional:
    """Needs packages that camfit does not.

    Attributes:
        name: as the table shows it.
        packages: distributions that must be installed, the runtime's own first.
        modules: that these bring.
    """

    name: str
    packages: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]]

    def missing(self) -> str:
        """Why it cannot run here; empty where it can. Imports nothing."""
        absent = [
            package
            for package, module in zip(self.packages, self.modules, strict=True)
            if module not in sys.modules and find_spec(module) is None
        ]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def version(self) -> str:
        """Of its packages, as installed."""
        return ", ".join(f"{package} {_version(package)}" for package in self.packages)


class Peer(Optional, ABC):
    """Attributes:
    tolerance: largest difference from torch's output, as a share of the largest output, of a right one.
    integer: computes in integers; rounding may then cost twice what it costs camfit, where that is more.
    least_threads: below these it is not timed.
    """

    tolerance: ClassVar[float] = 1e-3  # Winograd's large tiles and fast exponentials are not wrong
    least_threads: int = 1
    integer: ClassVar[bool] = False

    @abstractmethod
    def load(self, case: Case) -> Loaded:
        """Converts and loads the network. Whatever goes wrong is an exception of any kind, told to the reader."""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def converted(path: Path, what: str, log: str) -> Path:
    """The file that a converter should have made.

    Raises:
        RuntimeError: it did not.
    """
    if not path.exists():
        lines = log.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{what} failed: {lines[-1].strip()}")
    return path


def sizes(paths: Sequence[Path]) -> int:
    """Bytes of all of these files."""
    return sum(path.stat().st_size for path in paths)


@contextmanager
def silence() -> Iterator[None]:
    """Runtimes greet on stdout and stderr, from C++: nothing of it is a result."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
