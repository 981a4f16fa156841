"""The command line: help that tells the truth, JSON that is JSON, exit statuses, and every subcommand on a small run."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer.main
from PIL import Image

import camfit
import tiny
from camfit import Engine, Recipe, catalog, cli, models
from camfit import data as datasets
from camfit.measure import Measurement

Camfit = Callable[..., tiny.Outcome]
COMMANDS = ("fit", "apply", "info", "run", "measure", "methods", "report", "demo", "export", "bench")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.measure_briefly(monkeypatch)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Camfit:
    return lambda *words: tiny.command(monkeypatch, capsys, *words)


@pytest.fixture
def problem(tmp_path: Path) -> list[str]:
    """Words of a command: a model, its data, and a directory to work in."""
    tiny.write_npz(tmp_path / "spots.npz")
    model = tiny.write_model(tmp_path)
    return [model, "--data", str(tmp_path / "spots.npz"), "--epochs", "12", "--out", str(tmp_path / "run")]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> camfit.Result:
    """A finished run on the problem."""
    with pytest.MonkeyPatch.context() as patch:
        tiny.measure_briefly(patch)
        out = tmp_path_factory.mktemp("run")
        return camfit.apply(Recipe("nothing"), tiny.trained_net(), tiny.dataset(), out=out)


def one_object(text: str) -> dict[str, Any]:
    """The single JSON object that is all of the text."""
    assert text.count("\n") == 1
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


# -- help ------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(run: Camfit) -> None:
    found = run("--help")
    assert found.status == 0
    assert all(f" {name} " in found.out for name in COMMANDS)
    assert "3 a budget that could not be met" in " ".join(found.out.split())
    group = typer.main.get_command(cli.app)
    assert set(group.commands) == set(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_says_what_everything_is(name: str, run: Camfit) -> None:
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    found = run(name, "--help")
    assert found.status == 0
    text = " ".join(found.out.replace("│", " ").split())
    assert command.help
    for parameter in command.params:
        if parameter.name == "help":
            continue
        assert parameter.help, parameter.name
        assert parameter.help.split()[0] in text
        assert parameter.opts[0] in text or parameter.metavar in text


def test_the_version(run: Camfit) -> None:
    found = run("--version")
    assert (found.status, found.out) == (0, f"{version('camfit')}\n")


def test_the_installed_command_works_in_a_process_of_its_own() -> None:
    command = [str(Path(sys.executable).with_name("camfit")), "methods", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert one_object(found.stdout)["methods"]
    assert found.stderr == ""


# -- fit and apply ---------------------------------------------------------------------------------------------


def test_fit_in_json(problem: list[str], run: Camfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.climb_briefly(monkeypatch)
    found = run("fit", *problem, "--max-drop", "100", "--json")
    assert found.status == 0
    told = one_object(found.out)
    assert {"file", "report", "met", "verdict", "before", "after", "bytes", "coders"} <= set(told)
    assert told["met"] is True
    assert told["file"] == f"{tmp_path}/run/model.camfit"
    assert told["after"]["bytes"] == Path(told["file"]).stat().st_size == sum(told["bytes"].values())
    assert [set(limit) for limit in told["verdict"]] == [{"limit", "unit", "budget", "delivered", "met", "basis"}]
    assert "is untrained: training it first" in found.err
    record = json.loads((tmp_path / "run" / "report.json").read_text())
    assert record["command"].startswith(f"camfit fit {tmp_path}/spots.py:build --data ")
    assert record["command"] in record["reproduce"]
    again = run("fit", *problem, "--max-drop", "100")
    assert again.status == 0
    assert "going on after" in again.err
    assert "max-drop: met, " in again.out
    assert f"file {tmp_path}/run/model.camfit" in again.out


def test_a_budget_that_is_not_met(problem: list[str], run: Camfit, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.climb_briefly(monkeypatch)
    words = ["fit", *problem, "--max-size", "100", "--max-drop", "100"]
    found = run(*words)
    assert found.status == 3
    assert "max-size: not met, " in found.out
    assert "max-drop: met, " in found.out
    last = found.err.splitlines()[-1]
    size = (Path(problem[-1]) / "model.camfit").stat().st_size
    over, whole = (f"{n} bytes" if n < 1000 else f"{n / 1000:.2f} kB ({n:,} bytes)" for n in (size - 100, size))
    expected = (
        f"budget not met: max-size by {over} ({whole} of at most 100 bytes, the file); the closest file is kept: "
    )
    assert last.replace("\N{NO-BREAK SPACE}", " ") == f"{expected}{problem[-1]}/model.camfit"
    told = run(*words, "--json")
    assert told.status == 3
    limits = {limit["limit"]: limit["met"] for limit in one_object(told.out)["verdict"]}
    assert limits == {"max-size": False, "max-drop": True}


def test_apply_in_json(problem: list[str], run: Camfit, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "QZ2"\n[[steps]]\nstep = "rewrite"\nmethod = "QZ2"\noptions = { bits = 4 }\n')
    found = run("apply", recipe, *problem, "--json", "--exact")
    assert found.status == 0
    told = one_object(found.out)
    assert told["verdict"] == []
    assert told["after"]["bytes"] < told["before"]["bytes"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["half"] is False


def test_apply_takes_a_method_by_name_with_its_options(problem: list[str], run: Camfit, tmp_path: Path) -> None:
    found = run("apply", "PR6", *problem, "--set", "ratio=0.5", "--set", "allocation=global", "--tune", "1", "--json")
    assert found.status == 0, found.err
    steps = json.loads((tmp_path / "run" / "report.json").read_text())["steps"]
    assert [step["kind"] for step in steps][-2:] == ["rewrite", "train"]
    assert "l1-filters(ratio=0.5, allocation=global)" in json.dumps(steps)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["PR6", "--set", "ratio"], "'ratio': expected NAME=VALUE"),
        (["PR6", "--set", "ratio=half"], "l1-filters: option ratio: Expected `float`, got `str`"),
        (["PR6", "--set", "ratios={"], "found the value '{', expected one of TOML"),
        (["PR6", "--set", "depth=3"], "unknown option 'depth'"),
        (["soft-targets"], "soft-targets is a loss term, expected training that it can join"),
        (["slim"], "no method 'slim'"),
        (["slim.toml", "--tune", "2"], "--set and --tune are for a method's name"),
    ],
)
def test_wrong_methods_and_settings_are_told(problem: list[str], run: Camfit, words: list[str], told: str) -> None:
    found = run("apply", words[0], *problem, *words[1:])
    assert found.status == 2
    assert told in found.err


def test_epochs_and_rate_leave_the_rest_of_a_zoo_models_training(
    problem: list[str], run: Camfit, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "nothing"')
    assert run("apply", recipe, "zoo:digits_cnn", *problem[1:], "--learning-rate", "0.03").status == 0
    training = json.loads((tmp_path / "run" / "run.json").read_text())["training"]
    own = msgspec.to_builtins(models.default_training("zoo:digits_cnn", tiny.dataset()))
    assert training == {**own, "epochs": 12, "learning_rate": 0.03}
    assert training["batch_size"] == 64


# -- one packed file -------------------------------------------------------------------------------------------


def test_measure(result: camfit.Result, tmp_path: Path, run: Camfit) -> None:
    data = tiny.write_npz(tmp_path / "spots.npz")
    found = run("measure", result.file, "--data", data, "--json", "--threads", "2")
    assert (found.status, found.err) == (0, "")
    told = one_object(found.out)
    expected = {"accuracy", "bytes", "ms_median", "ms_p95", "threads", "peak_bytes", "macs", "params"}
    assert expected <= set(told) == set(Measurement.__struct_fields__)
    assert told["accuracy"] == result.after.accuracy
    assert told["bytes"] == result.file.stat().st_size
    assert told["threads"] == 2
    assert (told["macs"], told["params"]) == (result.after.macs, result.after.params)
    assert 0 < told["ms_median"] <= told["ms_p95"]
    table = run("measure", result.file, "--data", data, "--split", "train")
    assert table.status == 0
    assert "accuracy on 96 images" in table.out


def test_info(result: camfit.Result, run: Camfit) -> None:
    found = run("info", result.file, "--json")
    assert (found.status, found.err) == (0, "")
    told = one_object(found.out)
    assert told["classes"] == list(tiny.CLASSES)
    assert told["input"] == [8, 8, 1]
    assert told["bytes"] == result.file.stat().st_size
    assert [layer["name"] for layer in told["layers"] if layer["params"]] == ["0", "3", "7", "9"]
    assert all({"name", "op", "form", "stored_bytes", "params", "macs"} == set(layer) for layer in told["layers"])
    table = run("info", result.file).out
    assert "classes left, right, below" in table
    assert "conv2d" in table


def test_export(result: camfit.Result, run: Camfit, tmp_path: Path) -> None:
    sources = run("export", result.file, "--to", "c", "-o", tmp_path / "c", "--name", "spots", "--json")
    told = one_object(sources.out)
    assert sources.status == 0 and told["arena_bytes"] == Engine(result.file).memory["arena_bytes"]
    assert told["files"] == [str(tmp_path / "c" / name) for name in ("spots_weights.h", "spots.h", "spots.c")]
    assert all(Path(name).is_file() for name in told["files"])
    found = run("export", result.file, "--to", "onnx", "-o", tmp_path / "spots.onnx")
    assert found.status == 0 and f"wrote {tmp_path / 'spots.onnx'}" in found.out and "arena" not in found.out


def test_export_refuses(result: camfit.Result, run: Camfit, tmp_path: Path) -> None:
    assert (
        run("export", result.file, "--to", "rust", "-o", tmp_path / "x").err
        == "error: --to 'rust': expected c or onnx\n"
    )
    (tmp_path / "model.c").write_text("mine")
    found = run("export", result.file, "--to", "c", "-o", tmp_path)
    assert found.status == 2 and "model.c: was not written by camfit export" in found.err
    assert run("export", result.file, "--to", "c", "-o", tmp_path, "--force").status == 0


def test_report_writes_the_page_again(result: camfit.Result, run: Camfit) -> None:
    before = result.report.read_bytes()
    result.report.unlink()
    found = run("report", result.file.parent)
    assert (found.status, found.out) == (0, f"{result.report}\n")
    assert result.report.read_bytes() == before


# -- images ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[int]]:
    """A packed digits network; 40 test images as PNG files, and their labels."""
    folder = tmp_path_factory.mktemp("digits")
    data = datasets.load("digits")
    with pytest.MonkeyPatch.context() as patch:
        tiny.measure_briefly(patch)
        training = msgspec.structs.replace(models.default_training("zoo:digits_cnn", data), epochs=4)
        found = camfit.apply(Recipe("nothing"), "zoo:digits_cnn", data, out=folder / "run", training=training)
    assert found.after.accuracy > 0.9
    paths = [folder / f"{number}.png" for number in range(40)]
    for path, image in zip(paths, data.test.images, strict=False):
        Image.fromarray(image[..., 0]).save(path)
    return found.file, paths, data.test.labels[:40].tolist()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_run_names_digits(digits: tuple[Path, list[Path], list[int]], run: Camfit) -> None:
    file, paths, labels = digits
    found = run("run", file, *paths)
    assert (found.status, found.err) == (0, "")
    told = lines(found.out)
    assert [line["image"] for line in told] == [str(path) for path in paths]
    assert sum(line["class"] == label for line, label in zip(told, labels, strict=True)) >= 36
    assert all(line["label"] == str(line["class"]) for line in told)
    outputs = Engine(file).run(np.stack([np.asarray(Image.open(path)) for path in paths])[..., None])
    np.testing.assert_allclose([line["scores"] for line in told], outputs, atol=1e-5)


def test_run_takes_images_of_any_size_and_colour(
    digits: tuple[Path, list[Path], list[int]], run: Camfit, tmp_path: Path
) -> None:
    file, paths, _ = digits
    expected = [line["scores"] for line in lines(run("run", file, *paths[:10]).out)]
    changed = []
    for number, path in enumerate(paths[:10]):
        with Image.open(path) as image:
            large = image.resize((80, 120), Image.Resampling.NEAREST)
            colour = image.convert("RGB")
        large.save(tmp_path / f"large{number}.png")
        colour.save(tmp_path / f"colour{number}.ppm")
        changed.append((tmp_path / f"large{number}.png", tmp_path / f"colour{number}.ppm"))
    # Grey shown as colour is the same grey again.
    assert [line["scores"] for line in lines(run("run", file, *(pair[1] for pair in changed)).out)] == expected
    resized = lines(run("run", file, *(pair[0] for pair in changed)).out)
    same = [line["class"] == int(np.argmax(scores)) for line, scores in zip(resized, expected, strict=True)]
    assert sum(same) >= 9


def test_run_gives_a_colour_network_three_channels(run: Camfit, tmp_path: Path) -> None:
    network = camfit.trace(_brightest_channel(), (3, 2, 2))
    normalisation = camfit.data.Normalisation((1.0,) * 3, (0.0,) * 3)
    file = camfit.pack(network, normalisation).save(tmp_path / "rgb.camfit")
    Image.new("RGB", (2, 2), (10, 20, 200)).save(tmp_path / "blue.png")
    Image.new("L", (5, 5), 77).save(tmp_path / "grey.png")
    blue, grey = lines(run("run", file, tmp_path / "blue.png", tmp_path / "grey.png").out)
    assert (blue["class"], blue["label"], blue["scores"]) == (2, None, [10, 20, 200])
    assert grey["scores"] == [77, 77, 77]


def _brightest_channel() -> Any:
    from torch import nn

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            nn.init.eye_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

        def forward(self, x: Any) -> Any:
            return self.fc(x.mean((2, 3)))

    return Mean()


def test_run_scales_pixels_for_a_network_of_float_images(run: Camfit, tmp_path: Path) -> None:
    network = camfit.trace(_brightest_channel(), (3, 2, 2))
    normalisation = camfit.data.Normalisation((1.0,) * 3, (0.0,) * 3)
    file = camfit.pack(network, normalisation, info={"pixels": "float32"}).save(tmp_path / "float.camfit")
    Image.new("RGB", (2, 2), (51, 102, 255)).save(tmp_path / "a.png")
    (found,) = lines(run("run", file, tmp_path / "a.png").out)
    assert found["scores"] == pytest.approx([0.2, 0.4, 1.0], abs=1e-5)


def test_one_unreadable_image_does_not_stop_the_others(
    digits: tuple[Path, list[Path], list[int]], run: Camfit, tmp_path: Path
) -> None:
    file, paths, _ = digits
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    found = run("run", file, paths[0], broken, paths[1])
    assert found.status == 2
    assert [line["image"] for line in lines(found.out)] == [str(paths[0]), str(paths[1])]
    assert found.err.startswith(f"error: {broken}: cannot be read as an image")
    assert found.err.count("\n") == 1


def test_a_folder_of_images_of_many_sizes(run: Camfit, tmp_path: Path) -> None:
    images, labels = tiny.arrays(60, 0)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "images" / tiny.CLASSES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = (8, 16, 24)[number % 3]
        Image.fromarray(image[..., 0]).resize((side, side), Image.Resampling.NEAREST).save(path)
    (tmp_path / "recipe.toml").write_text('name = "nothing"')
    problem = [tiny.write_model(tmp_path), "--data", tmp_path / "images", "--out", tmp_path / "run", "--epochs", "40"]
    found = run("apply", tmp_path / "recipe.toml", *problem, "--image-size", "8x8", "--json")
    assert found.status == 0
    told = one_object(found.out)
    measured = run("measure", told["file"], "--data", tmp_path / "images", "--json")
    assert one_object(measured.out)["accuracy"] == told["after"]["accuracy"] > 0.7
    assert one_object(run("info", told["file"], "--json").out)["classes"] == sorted(tiny.CLASSES)


# -- the catalogue ---------------------------------------------------------------------------------------------


def test_methods_in_json(run: Camfit) -> None:
    found = run("methods", "--json")
    assert (found.status, found.err) == (0, "")
    entries = one_object(found.out)["methods"]
    assert {entry["row"] for entry in entries} == {entry.row for entry in catalog.methods().values()}
    for entry in entries:
        assert set(entry) == {"row", "name", "family", "paper", "module"}
        kind = catalog.find(entry["row"]).options
        assert vars(importlib.import_module(entry["module"]))[kind.__name__] is kind


def test_the_list_of_methods_has_a_line_for_each(run: Camfit) -> None:
    rows = [line.split()[0] for line in run("methods").out.splitlines()[1:]]
    assert rows == [entry.row for entry in catalog.methods().values()]


def test_one_method_tells_its_paper_and_options(run: Camfit) -> None:
    by_row, by_name = run("methods", "PR6"), run("methods", "l1-filters")
    assert by_row == by_name
    assert "Pruning Filters for Efficient ConvNets" in by_row.out
    # Types hold brackets, which must not be taken for markup.
    assert "dict[str, float]" in by_row.out
    assert "in [0, 1)" in by_row.out
    told = one_object(run("methods", "PR6", "--json").out)
    options = {option["name"]: option for option in told["options"]}
    assert options["skip"] == {
        "name": "skip", "type": "tuple[str, ...]", "default": "()", "what": "layers whose channels stay."
    }  # fmt: skip
    assert options["ratio"]["what"].startswith("fraction of the channels to remove, in [0, 1),")
    assert options["selection"]["what"].startswith("independent counts all kernels")


# -- demo ------------------------------------------------------------------------------------------------------


def test_demo_asks_for_the_main_job_and_says_what_to_try_next(
    result: camfit.Result, run: Camfit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def fit(model: str, data: str, budget: camfit.Budget, **options: Any) -> camfit.Result:
        asked.update(model=model, data=data, budget=budget, **options)
        return result

    monkeypatch.setattr(camfit, "fit", fit)
    found = run("demo", "--out", tmp_path / "my demo", "--seed", "5")
    assert found.status == 0
    assert (asked["model"], asked["data"], asked["seed"]) == ("zoo:digits_cnn", "digits", 5)
    assert asked["command"] == f"camfit demo --out '{tmp_path}/my demo' --seed 5"
    for column in ("accuracy", "file", "an image", "peak memory"):
        assert column in found.out
    following = found.out.split("Next:\n")[1].splitlines()
    assert f"  camfit measure {result.file} --data digits --seed 5 --threads 2" in following
    # What it proposes is what the command line knows.
    for line in following:
        words = line.split()
        assert words[0] == "camfit"
        assert words[1] in COMMANDS
