"""The arguments of ``camfit bench``, what it writes, and what it does without a peer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

import tiny
from camfit.bench import command, engine, figures, fit
from camfit.bench.peers import BASELINE

Camfit = Callable[..., tiny.Outcome]
RESULTS = Path(__file__).parents[2] / "docs" / "results"
QUICK = ("--only", "call", "--threads", "1", "--seconds", "0.05")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Camfit:
    return lambda *words: tiny.command(monkeypatch, capsys, "bench", *words)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds instead of twenty: how long is a matter of the caller, what comes out is not."""
    whole = engine.interleave
    monkeypatch.setattr(engine, "interleave", lambda calls, seconds: whole(calls, seconds, rounds=2))


@pytest.mark.parametrize("name", [each.name for each in command.app.registered_commands])
def test_every_option_is_explained(name: str, run: Camfit) -> None:
    found = run(name, "--help")
    assert found.status == 0
    parameters = typer.main.get_command(command.app).commands[name].params  # type: ignore[attr-defined]
    assert all(parameter.help for parameter in parameters if parameter.name != "help")


def test_a_run_writes_nothing_unasked(
    run: Camfit, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("engine", *QUICK, "--isa", "auto,plain")
    assert found.status == 0
    assert "| nothing: ReLU of one value | camfit | " in found.out
    assert "|  | camfit plain | " in found.out and "|  | ONNX Runtime | " in found.out
    assert "Command: `camfit bench engine --only call --threads 1 --seconds 0.05 --isa auto,plain`" in found.out
    assert list(tmp_path.iterdir()) == []


def test_json_is_the_whole_report(run: Camfit, quick: None) -> None:
    found = run("engine", *QUICK, "--json")
    (row,) = json.loads(found.out)["rows"]
    assert (row["key"], row["threads"], row["baseline"]) == ("call", 1, "ONNX Runtime")
    assert [figure["name"] for figure in row["figures"]] == ["camfit", "ONNX Runtime"]
    assert found.err.startswith("nothing: ReLU of one value, 1 thread(s): camfit ")


def test_write_saves_the_page_and_its_figures(run: Camfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = figures.read(RESULTS / "engine.json")
    asked: list[engine.Settings] = []

    def measured(settings: engine.Settings, progress: Any) -> figures.Report:
        asked.append(settings)
        return report

    monkeypatch.setattr(engine, "measure", measured)
    folder = tmp_path / "new" / "results"
    words = ("--peers", "--resources", "--threads", "2,1", "--isa", "avx2,plain", "--seconds", "0.5")
    assert run("engine", *words, "--write", folder).status == 0
    assert figures.read(folder / "engine.json") == report
    assert (folder / "engine.md").read_text().startswith("# The engine beside ")
    (settings,) = asked
    assert (settings.threads, settings.isas, settings.seconds) == ((2, 1), ("avx2", "plain"), 0.5)
    assert settings.peers and settings.resources
    assert settings.command == f"camfit bench engine {' '.join(words)} --write {folder}"


def test_render_makes_the_pages_from_their_figures(run: Camfit, tmp_path: Path) -> None:
    for name in ("engine", "peers"):
        (tmp_path / f"{name}.json").write_bytes((RESULTS / f"{name}.json").read_bytes())
    assert run("engine", "--render", tmp_path).status == 0
    for name in ("engine", "peers"):
        assert (tmp_path / f"{name}.md").read_text() == (RESULTS / f"{name}.md").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("engine", "--threads", "1;2"), "error: --threads '1;2': expected numbers from 1 to 64, separated by commas"),
        (("engine", "--threads", "0"), "error: --threads '0': expected numbers from 1 to 64"),
        (("engine", "--isa", "auto,mmx"), "error: --isa 'auto,mmx': 'mmx' is none of auto, plain, avx2"),
        (("engine", "--only", "vgg19"), "error: --only 'vgg19': expected a part of call, lenet300, "),
        (("engine", *QUICK, "--write", "results"), "error: --write saves the whole page; leave --only out"),
        (("engine", "--render", "nowhere"), "error: nowhere/engine.json: not the figures of `camfit bench engine` ("),
        (("fit", "--only", "lenet6"), "error: --only 'lenet6': expected one of lenet5, lenet-300-100, lenet5-mnist"),
        (("fit", "--only", "lenet5", "--write", "x"), "error: --write saves the whole page; leave --only out"),
    ],
)
def test_errors_say_what_was_expected(
    words: tuple[str, ...], expected: str, run: Camfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*words)
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_runtime_there_are_times_but_no_ratios(
    run: Camfit, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for peer in BASELINE:
        monkeypatch.setattr(type(peer), "missing", lambda self: "not installed: onnxruntime")
    found = run("engine", *QUICK)
    assert found.status == 0
    (line,) = (line for line in found.out.splitlines() if line.startswith("| nothing"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == "camfit" and float(cells[2]) > 0
    assert cells[4:6] == ["", ""]


def test_fit_takes_finished_runs_as_they_are(run: Camfit, tmp_path: Path) -> None:
    record = {
        "before": {"accuracy": 0.92},
        "after": {"accuracy": 0.919},
        "float32_bytes": 1_000_000,
        "coders": {"huffman": 20_000, "range": 18_000, "bits": 30_000},
        "bytes": {"codes": 18_000},
        "command": "camfit fit",
        "seed": 3,
        "seconds": 60.0,
        "versions": {"python": "3"},
        "machine": {"processor": "some"},
    }
    (tmp_path / "lenet5").mkdir()
    (tmp_path / "lenet5" / "report.json").write_text(json.dumps(record))
    found = run("fit", "--only", "lenet5", "--out", tmp_path, "--json")
    (row,) = json.loads(found.out)
    assert row["holds"] is True
    assert row["drop"] == pytest.approx(0.1)
    record["coders"]["huffman"] = 20_001  # type: ignore[index]
    assert fit.row(fit.CLAIMS[0], record)["holds"] is False
