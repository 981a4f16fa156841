"""Peers: absent ones are told, failing and wrong ones are kept out of the timing, and the run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from camfit.bench import engine
from camfit.bench.figures import Refused
from camfit.bench.peers import BASELINE, PEERS, Case, Loaded, Peer
from camfit.bench.peers.peer import converted, silence
from camfit.bench.subjects import Entry, Subject
from camfit.network import Network, Node


class Fake(Peer):
    """Answers ``factor`` times what is right, or fails."""

    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    modules: ClassVar[tuple[str, ...]] = ("numpy",)

    def __init__(self, name: str, factor: float = 1.0, failure: str = "") -> None:
        self.name, self.factor, self.failure = name, factor, failure

    def load(self, case: Case) -> Loaded:
        if self.failure:
            raise ValueError(self.failure)
        with torch.no_grad():
            right = case.network(torch.from_numpy(case.image)).numpy()
        return Loaded(lambda: None, lambda: self.factor * right, 7)


class Absent(Fake):
    packages: ClassVar[tuple[str, ...]] = ("no-such-runtime", "numpy")
    modules: ClassVar[tuple[str, ...]] = ("no_such_runtime", "numpy")


@pytest.fixture
def subject() -> Subject:
    network = Network((Node("relu", "relu", ("input",)),), {"relu": nn.ReLU()}, (2, 3, 3)).eval()
    image = torch.rand(1, 2, 3, 3)
    return Subject("tiny", "tiny", lambda: (Entry("camfit", "", network, image), Entry("peers", "", network, image)))


def measured(subject: Subject, *peers: Peer, threads: int = 1) -> engine.Row:
    settings = engine.Settings("test", seconds=0.01)
    return engine._row(subject, threads, settings, peers, lambda line: None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engine.interleave
    monkeypatch.setattr(engine, "interleave", lambda calls, seconds: whole(calls, seconds, rounds=2))


def test_a_failing_peer_leaves_its_reason(subject: Subject) -> None:
    row = measured(subject, Fake("fine"), Fake("broken", failure="no op | called Relu\nand more"))
    assert [figure.name for figure in row.figures] == ["camfit", "fine"]
    assert row.refused == (Refused("broken", "no op / called Relu"),)


def test_a_wrong_output_is_not_timed(subject: Subject) -> None:
    row = measured(subject, Fake("near", 1.0005), Fake("far", 1.1), Fake("lost", float("nan")))
    assert [figure.name for figure in row.figures] == ["camfit", "near"]
    assert row.refused == (
        Refused("far", "wrong: off by 0.1 of the largest output"),
        Refused("lost", "wrong: off by nan of the largest output"),
    )


def test_ratios_are_to_onnx_runtime(subject: Subject) -> None:
    row = measured(subject, *BASELINE, Fake("fine"))
    assert row.baseline == "ONNX Runtime"
    assert [f.name for f in row.figures] == ["camfit", "ONNX Runtime", "fine"]  # one thread cannot sleep
    assert row.figures[1].ratio is not None and row.figures[1].ratio.median == 1.0


def test_the_packages_that_are_missing_are_named() -> None:
    assert Fake("there").missing() == ""
    assert Fake("there").version() == f"numpy {np.__version__}"
    assert Absent("gone").missing() == "not installed: no-such-runtime"
    assert engine._found(Absent("gone")).missing == "not installed: no-such-runtime"


def test_asking_for_a_peer_imports_nothing() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from camfit.bench.peers import BASELINE, PEERS\n"
        "asked = [peer.missing() for peer in (*BASELINE, *PEERS)]\n"
        "print([m for peer in (*BASELINE, *PEERS) for m in peer.modules if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_are_told_apart() -> None:
    names = [peer.name for peer in (*BASELINE, *PEERS)]
    assert len(set(names)) == len(names)


def test_onnx_runtimes_own_int8_is_near_the_float_network(subject: Subject, tmp_path: Path) -> None:
    layer = nn.Conv2d(2, 4, 3)
    network = Network((Node("conv", "conv", ("input",)),), {"conv": layer}, (2, 5, 5)).eval()
    entry = Entry("peers", "", network, torch.rand(1, 2, 5, 5))
    peer = next(peer for peer in PEERS if peer.name == "ONNX Runtime int8")
    found = engine._tried(entry, peer, 1, tmp_path / "work")
    assert not isinstance(found, Refused)
    assert 0 < found[1] < 0.05


def test_a_converter_that_makes_nothing_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="^pnnx failed: layer X not supported$"):
        converted(tmp_path / "none", "pnnx", "loading\nlayer X not supported\n")


def test_greetings_are_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with silence():
        os.write(1, b"hello")
        os.write(2, b"hello")
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")
