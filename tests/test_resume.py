"""Nothing is lost: runs killed with SIGKILL at any moment go on with the same command, and end with the same file.

The commands run in processes that are forked off a server which has imported torch already: starting anew takes
seconds. Progress is told at every epoch here, so that moments can be counted in lines, and checkpoints are written often.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import safetensors.torch
import torch

import tiny
from camfit import Engine, cli, storage
from camfit.measure import measure
from camfit.storage import TEMPORARY
from camfit.trace import trace

# SIGKILLs: of each command, while it works, and at a moment of writing a file.
KILLS, WRITING_KILLS = 7, 3
RECIPE = """
name = "slim, share"
[[steps]]
step = "rewrite"
method = "l1-filters"
options = { ratio = 0.3 }
[[steps]]
step = "train"
epochs = 12
learning_rate = 0.02
[[steps]]
step = "rewrite"
method = "magnitude"
[[steps]]
step = "train"
epochs = 12
learning_rate = 0.02
clip = 1.0
[[steps]]
step = "rewrite"
method = "weight-sharing"
options = { bits = 3 }
[[steps]]
step = "train"
epochs = 12
learning_rate = 0.001
optimizer = "adam"
augment = "shift"
[[terms]]
method = "soft-targets"
"""


# -- the server, in a process of its own -----------------------------------------------------------------------


def serve() -> None:
    """Reads jobs from stdin, a JSON line each; forks one process a job; answers its id, then its wait status."""
    torch.set_num_threads(1)
    trace(tiny.net(), (1, 8, 8))
    training = importlib.import_module("camfit.train")
    vars(training).update(_TELL_EVERY=0.0, _SAVE_EVERY=0.02)
    vars(importlib.import_module("camfit.fit"))["measure"] = functools.partial(measure, seconds=0.005)
    print("ready", flush=True)
    while line := sys.stdin.readline():
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _camfit(job["words"], job["log"], job["write"])
        print(child, flush=True)
        sys.stdin.readline()  # until then it stays a zombie, so that its number is nobody else's
        print(os.waitpid(child, 0)[1], flush=True)


def _camfit(words: list[str], log: str, fatal_write: int | None) -> NoReturn:
    """Becomes ``camfit WORDS...`` with all output in ``log``; never returns."""
    status = 1
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        if fatal_write is not None:
            _die_writing(fatal_write)
        sys.argv = ["camfit", *words]
        cli.main()
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)


def _die_writing(number: int) -> None:
    """Kills this process in the middle of writing file ``number``, or just before or after it gets its name."""
    replace, fsync, written = os.replace, os.fsync, 0

    def half(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == number and number % 3 == 0:
            os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def named(source: str, target: Path) -> None:
        if written == number and number % 3 == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if written == number:
            os.kill(os.getpid(), signal.SIGKILL)

    vars(storage)["os"].replace, vars(storage)["os"].fsync = named, half


@dataclass(frozen=True)
class Server:
    """The test's end of the server."""

    process: subprocess.Popen[str]

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def camfit(self, words: list[str], log: Path, *, lines: int | None = None, write: int | None = None) -> int:
        """Runs a command; returns its exit status, -9 where it was killed.

        Args:
            lines: SIGKILL once it has told so much.
            write: it kills itself at this file.
        """
        log.unlink(missing_ok=True)
        self.tell(json.dumps({"words": words, "log": str(log), "write": write}))
        child = int(self.hear())
        if lines is not None:
            _wait_for(child, log, lines)
            os.kill(child, signal.SIGKILL)
        self.tell()
        return os.waitstatus_to_exitcode(int(self.hear()))


def _wait_for(child: int, log: Path, lines: int) -> None:
    """Returns when the log has so many lines or the process has ended."""
    stat = Path(f"/proc/{child}/stat")
    while _told(log) < lines and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.001)


def _told(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    found = Server(process)
    assert found.hear() == "ready"
    yield found
    process.communicate()


# -- the law ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("resume")
    tiny.write_npz(found / "spots.npz")
    tiny.write_model(found)
    (found / "recipe.toml").write_text(RECIPE)
    return found


def _words(kind: str, folder: Path, out: Path) -> list[str]:
    problem = [f"{folder}/spots.py:build", "--data", f"{folder}/spots.npz", "--epochs", "12", "--out", str(out)]
    if kind == "apply":
        return ["apply", str(folder / "recipe.toml"), *problem]
    return ["fit", *problem, "--max-size", "800", "--max-drop", "5"]


def _check_whole(run: Path) -> None:
    """Whatever bears a final name is whole."""
    for path in run.rglob("*"):
        if path.name.startswith("."):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            safetensors.torch.load(path.read_bytes())
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".camfit":
            Engine(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        else:
            assert path.is_dir(), path


def _without_times(record: Any) -> Any:
    """The report's record without what is measured in seconds or tells where the run lies."""
    if isinstance(record, dict):
        timed = ("seconds", "ms", "ms_median", "ms_p95", "command", "reproduce", "machine")
        return {key: _without_times(value) for key, value in record.items() if key not in timed}
    return [_without_times(value) for value in record] if isinstance(record, list) else record


@pytest.mark.parametrize("kind", ["fit", "apply"])
def test_killed_at_any_moment_ends_with_the_same_file(kind: str, folder: Path, server: Server) -> None:
    undisturbed, log = folder / f"{kind}-undisturbed", folder / "log"
    assert server.camfit(_words(kind, folder, undisturbed), log) == 0, log.read_text()
    expected = (undisturbed / "model.camfit").read_bytes()
    told = _told(log)
    chosen = random.Random(f"resume {kind}")
    moments = [{"lines": chosen.randint(1, told // 2)} for _ in range(KILLS)]
    moments += [{"write": chosen.randint(2, 40)} for _ in range(WRITING_KILLS)]
    chosen.shuffle(moments)

    def finish(run: Path) -> None:
        assert server.camfit(_words(kind, folder, run), log) == 0, log.read_text()
        assert (run / "model.camfit").read_bytes() == expected
        assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
        records = [json.loads((where / "report.json").read_text()) for where in (run, undisturbed)]
        assert _without_times(records[0]) == _without_times(records[1])
        left = [path.name for path in run.rglob("*") if path.name.endswith(TEMPORARY) or path.name == "checkpoint.pt"]
        assert not left
        _check_whole(run)

    killed, number = 0, 0
    while moments:
        run = folder / f"{kind}-{number}"
        status = server.camfit(_words(kind, folder, run), log, **moments[-1])
        if status == -signal.SIGKILL:
            killed += 1
            moments.pop()
            _check_whole(run)
        else:
            # It was done before its moment came: once more from the start.
            assert status == 0, log.read_text()
            assert (run / "model.camfit").read_bytes() == expected
            number += 1
    assert killed == KILLS + WRITING_KILLS
    finish(folder / f"{kind}-{number}")


if __name__ == "__main__":
    serve()
