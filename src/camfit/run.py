"""A run's directory: what was asked, every finished step, the packed file and the report. Built to survive a kill.

A step is finished when its ``record.json`` exists; it is written last. On the same command the finished steps are read
back and the first unfinished one goes on from its last checkpoint, so an interrupted run ends with the same bytes as
one that was not. Choices that rest on measured time are records too, and are not measured again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from camfit.errors import RunError
from camfit.network import Network
from camfit.storage import TEMPORARY, load_network, read_json, save_network, write_json

Record = dict[str, Any]


class Run:
    """An open run directory. Use as a context manager: one process at a time may hold it.

    Args:
        path: created where it does not exist.
        manifest: what this run is of (model, data, recipe or budget, seed). A directory that holds another one's work
            is refused.

    Raises:
        RunError: another manifest, another process, or a path that cannot be written.
    """

    def __init__(self, path: str | Path, manifest: Record) -> None:
        self.path = Path(path)
        self.manifest = manifest
        self._taken: set[str] = set()
        self._lock: int | None = None

    def __enter__(self) -> Run:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._unlock()
            raise RunError(f"{self.path}: another camfit process is working here") from error
        except OSError as error:
            self._unlock()
            raise RunError(f"{self.path}: cannot be used as a run directory: {error.strerror or error}") from error
        try:
            self._check_manifest()
        except BaseException:
            self._unlock()
            raise
        # Only here and in the steps, and only where the directory is this run's: it may name any directory.
        for pattern in (f".*{TEMPORARY}", f"steps/*/.*{TEMPORARY}"):
            for leftover in self.path.glob(pattern):
                leftover.unlink(missing_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_manifest(self) -> None:
        path = self.path / "run.json"
        if not path.exists():
            if (self.path / "steps").exists():
                raise RunError(f"{self.path}: has steps but no run.json; give another --out")
            write_json(path, self.manifest)
            return
        found = read_json(path)
        if not isinstance(found, dict):
            raise RunError(f"{path}: not the manifest of a run: expected an object, found {type(found).__name__}")
        for key in sorted({*found, *self.manifest}):
            if found.get(key) != self.manifest.get(key):
                raise RunError(
                    f"{self.path}: holds a run with {key} = {_short(found.get(key))}, this one has "
                    f"{_short(self.manifest.get(key))}; give another --out, or delete it"
                )

    @property
    def resumed_steps(self) -> int:
        """Finished steps that are already there."""
        return len(list((self.path / "steps").glob("*/record.json")))

    def _directory(self, name: str) -> Path:
        if name in self._taken:
            raise RunError(f"{self.path}: step {name!r} was taken twice in one run")
        self._taken.add(name)
        return self.path / "steps" / name

    def network(self, name: str, make: Callable[[Path], tuple[Network, Record]]) -> tuple[Network, Record]:
        """A step that makes a network: read back when finished, else made.

        Args:
            name: unique in the run.
            make: gets the checkpoint path for training; returns the network and the step's record.
        """
        directory = self._directory(name)
        record_path, network_path = directory / "record.json", directory / "network.safetensors"
        checkpoint = directory / "checkpoint.pt"
        if record_path.exists():
            checkpoint.unlink(missing_ok=True)  # a kill may have come between the record and this
            return load_network(network_path), read_json(record_path)
        begin = time.perf_counter()
        network, record = make(checkpoint)
        record = {"seconds": round(time.perf_counter() - begin, 2), **record}
        save_network(network, network_path)
        write_json(record_path, record)
        checkpoint.unlink(missing_ok=True)
        return network, record

    def value(self, name: str, compute: Callable[[], Record]) -> Record:
        """A step that computes figures: read back when finished, else computed."""
        record_path = self._directory(name) / "record.json"
        if record_path.exists():
            return dict(read_json(record_path))
        write_json(record_path, compute())
        return dict(read_json(record_path))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
