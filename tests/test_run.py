"""A run's directory: steps are made once, other work is refused, one process at a time, no leftovers."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from camfit.errors import RunError
from camfit.network import Network
from camfit.run import Record, Run
from camfit.storage import load_network, network_bytes
from camfit.trace import trace

MANIFEST = {"kind": "fit", "seed": 1, "budget": {"max_size": 100}}


def network(value: float = 1.0) -> Network:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    nn.init.constant_(module[0].weight, value)
    return trace(module, (1, 3, 3))


def never(*_: object) -> tuple[Network, Record]:
    raise AssertionError("made again")


def test_a_finished_step_is_read_back_and_not_made_again(tmp_path: Path) -> None:
    made = network()
    with Run(tmp_path, MANIFEST) as run:
        first, record = run.network("a", lambda _: (made, {"name": "a"}))
        assert run.value("b", lambda: {"x": 0.1}) == {"x": 0.1}
        assert first is made
        assert run.resumed_steps == 2
    with Run(tmp_path, MANIFEST) as run:
        assert run.resumed_steps == 2
        second, again = run.network("a", never)
        assert network_bytes(second) == network_bytes(made)
        assert again == record
        assert run.value("b", never) == {"x": 0.1}  # type: ignore[arg-type]


def test_a_step_without_its_record_is_made_again_from_its_checkpoint(tmp_path: Path) -> None:
    def dies(checkpoint: Path) -> tuple[Network, Record]:
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"half way")
        raise KeyboardInterrupt

    def goes_on(checkpoint: Path) -> tuple[Network, Record]:
        assert checkpoint.read_bytes() == b"half way"
        return network(), {}

    with pytest.raises(KeyboardInterrupt), Run(tmp_path, MANIFEST) as run:
        run.network("a", dies)
    with Run(tmp_path, MANIFEST) as run:
        run.network("a", goes_on)
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_checkpoint_that_a_kill_left_behind_a_finished_step_goes(tmp_path: Path) -> None:
    with Run(tmp_path, MANIFEST) as run:
        run.network("a", lambda _: (network(), {}))
    (tmp_path / "steps" / "a" / "checkpoint.pt").write_bytes(b"of a finished step")
    with Run(tmp_path, MANIFEST) as run:
        run.network("a", never)
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_half_written_files_of_the_run_go_and_nobody_elses(tmp_path: Path) -> None:
    with Run(tmp_path, MANIFEST) as run:
        run.value("a", dict)
    own = [tmp_path / ".run.json.x1.tmp", tmp_path / "steps" / "a" / ".record.json.x2.tmp"]
    others = [
        tmp_path / "notes.tmp",
        tmp_path / "photos" / ".holiday.tmp",
        tmp_path / "steps" / "a" / "deep" / ".x.tmp",
    ]
    for path in (*own, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with pytest.raises(RunError), Run(tmp_path, {**MANIFEST, "seed": 2}):
        pass
    assert all(path.exists() for path in own), "a directory of another run is left as it is"
    with Run(tmp_path, MANIFEST):
        pass
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in others)


def test_another_runs_directory_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    with Run(tmp_path, MANIFEST):
        pass
    with pytest.raises(RunError, match=r"holds a run with seed = 1, this one has 2; give another --out"):
        Run(tmp_path, {**MANIFEST, "seed": 2}).__enter__()
    with pytest.raises(RunError, match=r"holds a run with budget = .*100.*, this one has None"):
        Run(tmp_path, {"kind": "fit", "seed": 1}).__enter__()
    # The lock of the one refused is not held: the right one still enters.
    with Run(tmp_path, MANIFEST):
        pass


def test_a_long_difference_stays_one_readable_line(tmp_path: Path) -> None:
    with Run(tmp_path, {"recipe": "line\n" * 1000}):
        pass
    with pytest.raises(RunError) as refused:
        Run(tmp_path, {"recipe": "other\n" * 1000}).__enter__()
    assert len(str(refused.value)) < 500 + len(str(tmp_path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not a readable JSON file"), ("[1]", "not the manifest of a run: expected an object, found list")],
)
def test_a_damaged_manifest_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=rf"run\.json: {message}"):
        Run(tmp_path, MANIFEST).__enter__()


def test_steps_without_a_manifest_are_refused(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    with pytest.raises(RunError, match="has steps but no run.json"):
        Run(tmp_path, MANIFEST).__enter__()


def test_one_at_a_time(tmp_path: Path) -> None:
    # A lock belongs to the open file, so a second Run in this process stands for one in another.
    with Run(tmp_path, MANIFEST), pytest.raises(RunError, match="another camfit process is working here"):
        Run(tmp_path, MANIFEST).__enter__()
    with Run(tmp_path, MANIFEST):
        pass


def test_the_lock_goes_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run(tmp_path, MANIFEST):
        raise ZeroDivisionError
    with Run(tmp_path, MANIFEST):
        pass


def test_paths_that_cannot_be_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(RunError, match=r"cannot be used as a run directory: (Not a directory|File exists)"):
            Run(path, MANIFEST).__enter__()


def test_a_step_name_serves_once(tmp_path: Path) -> None:
    with Run(tmp_path, MANIFEST) as run:
        run.value("a", dict)
        with pytest.raises(RunError, match="step 'a' was taken twice"):
            run.value("a", dict)


def test_a_damaged_step_is_named(tmp_path: Path) -> None:
    with Run(tmp_path, MANIFEST) as run:
        run.network("a", lambda _: (network(), {}))
    path = tmp_path / "steps" / "a" / "network.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with Run(tmp_path, MANIFEST) as run, pytest.raises(RunError, match=r"steps/a/network\.safetensors"):
        run.network("a", never)
    with pytest.raises(RunError):
        load_network(path)
