"""The main jobs from Python: what fit and apply deliver for every kind of model, and what they refuse."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camfit
import tiny
from camfit import Budget, Engine, Recipe, Rewrite, Train, ladder
from camfit.data import Dataset, Normalisation, Split, to_tensor
from camfit.errors import CamfitError, PlanError, RunError, TrainingError
from camfit.evaluate import predict
from camfit.fit import original_of
from camfit.forms import Codebook, Masked, form_of
from camfit.layers import BinaryConv2d

TRAIN = Train(6, 0.02)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny.dataset()


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return tiny.trained_net()


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.measure_briefly(monkeypatch)


def said(messages: list[str], part: str) -> bool:
    return any(part in message for message in messages)


def check(result: camfit.Result, data: Dataset) -> None:
    """What holds for every result: the figures are those of the files that lie there."""
    content = result.file.read_bytes()
    engine = Engine(content)
    assert len(content) == result.after.bytes == sum(result.record["bytes"].values())
    assert result.record["coders"]["range"] == len(content)
    outputs = engine.run(data.test.images)
    assert result.after.accuracy == np.mean(outputs.argmax(1) == data.test.labels)
    network = predict(result.network, to_tensor(data.test.images, data.normalisation)).numpy()
    np.testing.assert_allclose(outputs, network, rtol=0.05, atol=0.05)
    assert engine.info["classes"] == list(data.classes)
    folder = result.file.parent
    assert Engine(folder / "original.camfit").bytes == result.before.bytes
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(result.record))
    assert "</html>" in result.report.read_text()


# -- models ----------------------------------------------------------------------------------------------------


def test_an_untrained_module_is_trained_first_and_kept(data: Dataset, tmp_path: Path) -> None:
    net, said_so = tiny.net(), list[str]()
    result = camfit.fit(
        net, data, Budget(max_size=1200, max_drop=10), out=tmp_path, training=tiny.TRAINING, progress=said_so.append
    )
    assert said(said_so, "Sequential is untrained: training it first (train 12 epochs")
    assert result.met
    assert result.after.bytes <= 1200 < result.before.bytes
    check(result, data)
    limits = {limit.limit: limit for limit in result.verdict}
    assert limits["max-size"].delivered == result.after.bytes
    kept = original_of(tmp_path)
    scores = predict(kept, to_tensor(data.test.images, data.normalisation))
    assert float((scores.argmax(1).numpy() == data.test.labels).mean()) == result.before.accuracy > 0.9
    assert result.record["steps"][0]["name"] == "original-01-train"
    assert sum(trial["chosen"] for trial in result.record["trials"]) == 1


def test_a_trained_module_is_taken_as_it_is(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    said_so: list[str] = []
    result = camfit.apply(Recipe("nothing"), trained, data, out=tmp_path, half=False, progress=said_so.append)
    assert not said(said_so, "untrained")
    check(result, data)
    assert result.before.accuracy == result.after.accuracy > 0.9
    assert result.record["steps"] == []
    with torch.no_grad():
        expected = trained.eval()(to_tensor(data.test.images, data.normalisation)).numpy()
    np.testing.assert_allclose(Engine(result.file).run(data.test.images), expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    with pytest.raises(RunError, match="holds no trained original"):
        original_of(tmp_path)


def test_an_exported_program(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    program = torch.export.export(trained, (torch.zeros(2, 1, 8, 8),))
    result = camfit.apply(Recipe("share", (Rewrite("QZ2", {"bits": 4}),)), program, data, out=tmp_path)
    check(result, data)
    assert all(isinstance(form_of(layer), Codebook) for layer in result.network.weighted().values())


def test_a_good_network_of_two_classes_is_not_trained_again(tmp_path: Path) -> None:
    images, labels = tiny.arrays(96, 0)
    two = labels < 2
    split = Split(images[two], labels[two])
    data = Dataset("two", split, split, split, ("left", "right"), Normalisation.measured(split.images))
    three = tiny.trained_net()
    assert isinstance(three, nn.Sequential)
    head, last = nn.Linear(16, 2), three[-1]
    assert isinstance(last, nn.Linear)
    head.load_state_dict({name: value[:2] for name, value in last.state_dict().items()})
    said_so: list[str] = []
    result = camfit.apply(
        Recipe("nothing"), nn.Sequential(*three[:-1], head), data, out=tmp_path / "good", progress=said_so.append
    )
    assert result.before.accuracy > 0.9
    assert not said(said_so, "untrained")
    # One that always says the same is right half the time here, and untrained all the same.
    constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    for parameter in constant.parameters():
        nn.init.zeros_(parameter)
    camfit.apply(
        Recipe("nothing"), constant, data, out=tmp_path / "constant", training=Train(1), progress=said_so.append
    )
    assert said(said_so, "untrained")


@pytest.mark.parametrize("drop", [0.0, 100.0])
def test_one_layer_is_enough(drop: float, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.climb_briefly(monkeypatch)
    torch.manual_seed(0)
    only = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    result = camfit.fit(only, data, Budget(max_drop=drop), out=tmp_path, training=replace_epochs(5))
    assert result.met
    check(result, data)


def replace_epochs(epochs: int) -> Train:
    return Train(epochs, 0.05, batch_size=32)


def test_float_images_are_told_in_the_file(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    splits = [Split(split.images / np.float32(255), split.labels) for split in (data.train, data.val, data.test)]
    floats = replace(
        data, train=splits[0], val=splits[1], test=splits[2], normalisation=Normalisation.measured(splits[0].images)
    )
    result = camfit.apply(Recipe("nothing"), trained, floats, out=tmp_path)
    assert Engine(result.file).info["pixels"] == "float32"
    assert result.after.accuracy > 0.9


# -- recipes ---------------------------------------------------------------------------------------------------


def test_filters_soft_targets_and_sharing_in_one_recipe(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("PR6, QZ2", (Rewrite("PR6", {"ratio": 0.25}), TRAIN, Rewrite("QZ2", {"bits": 4}), TRAIN)).joined_by(
        "KD3", {"temperature": 2.0}
    )
    result = camfit.apply(recipe, trained, data, out=tmp_path)
    check(result, data)
    shapes = {path: tuple(layer.weight.shape) for path, layer in result.network.weighted().items()}  # type: ignore[union-attr]
    assert shapes == {"0": (5, 1, 3, 3), "3": (6, 5, 3, 3), "7": (12, 24), "9": (3, 12)}
    forms = {layer["form"] for layer in Engine(result.file).layers if layer["op"] in ("conv2d", "linear")}
    assert len(forms) == 1
    assert "codebook" in forms.pop()
    assert [step["kind"] for step in result.record["steps"]] == ["rewrite", "train", "rewrite", "train"]
    assert all("+ KD3" in step["what"] for step in result.record["steps"] if step["kind"] == "train")
    assert result.after.macs < result.before.macs
    assert result.after.accuracy > 0.9


def test_soft_targets_change_what_is_learnt(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    plain = Recipe("x", (TRAIN,))
    files = [
        camfit.apply(recipe, trained, data, out=tmp_path / str(number)).file.read_bytes()
        for number, recipe in enumerate((plain, plain.joined_by("soft-targets"), plain))
    ]
    assert files[0] == files[2] != files[1]


def test_a_recipe_may_be_a_file(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("share", (Rewrite("QZ2", {"bits": 4}),))
    (tmp_path / "share.toml").write_text(recipe.to_toml())
    found = [
        camfit.apply(given, trained, data, out=tmp_path / str(number)).file.read_bytes()
        for number, given in enumerate((recipe, tmp_path / "share.toml", str(tmp_path / "share.toml")))
    ]
    assert found[0] == found[1] == found[2]


def test_signs_after_filters(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("PR6, BN4", (Rewrite("l1-filters", {"ratio": 0.3}), TRAIN, Rewrite("xnor-net"), TRAIN))
    result = camfit.apply(recipe, trained, data, out=tmp_path)
    check(result, data)
    binary = result.network.layer("3")
    assert isinstance(binary, BinaryConv2d)
    assert tuple(binary.weight.shape) == (6, 5, 3, 3)
    ops = {layer["name"]: layer["op"] for layer in Engine(result.file).layers}
    assert ops["3"] == "binary_conv2d"


def test_masks_then_codebook_stay_pruned(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("PR3, QZ2", (Rewrite("PR3", {"quality": 1.0}), TRAIN, Rewrite("QZ2", {"bits": 3}), TRAIN))
    result = camfit.apply(recipe, trained, data, out=tmp_path)
    check(result, data)
    kept = result.record["steps"][0]["notes"]
    for path, layer in result.network.weighted().items():
        assert int((layer.weight != 0).sum()) <= kept[path]["kept"] < layer.weight.numel()  # type: ignore[union-attr, operator, arg-type]


def test_a_method_that_skips_every_layer_changes_nothing(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    everything = Rewrite("magnitude", {"skip": ["0", "3", "7", "9"]})
    result = camfit.apply(Recipe("none", (everything,)), trained, data, out=tmp_path, half=False)
    check(result, data)
    assert not any(isinstance(form_of(layer), Masked) for layer in result.network.weighted().values())
    assert result.after.accuracy == result.before.accuracy


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("hashednets", "l1-filters", "the weight of '0' is hashed by hashednets"),
        ("magnitude", "xnor-net", "it would discard the form masked (magnitude) of the layer's weight"),
        ("weight-sharing", "xnor-net", "it would discard the form codebook (weight-sharing)"),
        ("hashednets", "weight-sharing", "form codebook (weight-sharing) cannot follow form hashed (hashednets)"),
        ("xnor-net", "weight-sharing", "is binary (xnor-net): its weight must stay in form sign"),
        ("xnor-net", "xnor-net", "it would discard the form sign (xnor-net)"),
    ],
)
def test_methods_that_do_not_go_together_say_so(
    first: str, second: str, message: str, data: Dataset, trained: nn.Module, tmp_path: Path
) -> None:
    recipe = Recipe("both", (Rewrite(first), Rewrite(second)))
    with pytest.raises(PlanError) as refused:
        camfit.apply(recipe, trained, data, out=tmp_path)
    assert str(refused.value).startswith(f"recipe 'both', step 2: {second}")
    assert message in str(refused.value)
    assert (tmp_path / "steps" / f"01-{first}" / "record.json").exists(), "what was finished is kept"
    assert not (tmp_path / "steps" / f"02-{second}").exists()


def test_a_step_that_names_an_unknown_layer(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("x", (Rewrite("PR3", {"keep": {"conv9": 0.5}}),))
    with pytest.raises(
        CamfitError, match=r"recipe 'x', step 1: magnitude: no layer 'conv9'.*; expected one of 0, 3, 7, 9"
    ):
        camfit.apply(recipe, trained, data, out=tmp_path)


def test_a_loss_that_is_no_number(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("x", (Train(5, 1e20, momentum=0.0),))
    with pytest.raises(
        TrainingError, match=r"01-train: the loss became (nan|inf) in epoch \d, batch \d of 1, at learning"
    ):
        camfit.apply(recipe, trained, data, out=tmp_path)


def test_a_last_step_that_breaks_down(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe("x", (Train(1, 1e25, batch_size=1000, momentum=0.0, schedule="constant"),))
    for _ in range(2):  # it is no finished step: the second time it breaks down again
        with pytest.raises(
            TrainingError, match="01-train: the trained network's outputs are not finite, at learning rate"
        ):
            camfit.apply(recipe, trained, data, out=tmp_path)


# -- budgets ---------------------------------------------------------------------------------------------------


def test_an_impossible_budget_is_not_met_and_the_closest_is_kept(
    data: Dataset, trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.climb_briefly(monkeypatch)
    # Time that never varies: else chance decides which of two equally slow trials is the closest.
    monkeypatch.setattr(
        ladder, "milliseconds", lambda engine, *_: np.array([sum(layer["macs"] for layer in engine.layers) / 10_000])
    )
    result = camfit.fit(trained, data, Budget(max_size=1, max_latency=1e-6, max_drop=0), out=tmp_path)
    assert not result.met
    check(result, data)
    assert [limit.met for limit in result.verdict][:2] == [False, False]
    assert result.after.bytes <= 1.02 * min(trial["bytes"] for trial in result.record["trials"])
    # As many filters went as can go.
    first = result.network.layer("0")
    assert isinstance(first, nn.Conv2d)
    assert first.out_channels == 1


def test_a_latency_that_is_met_leaves_the_network_alone(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    result = camfit.fit(trained, data, Budget(max_latency=1000), out=tmp_path)
    assert result.met
    assert result.after.macs == result.before.macs
    assert result.record["steps"] == []


def test_what_rests_on_measured_time_is_not_measured_again(
    data: Dataset, trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops a run behind its decisions and goes on with a clock that must not be asked."""
    tiny.climb_briefly(monkeypatch)
    clock = list[Any]()

    def milliseconds(engine: Engine, *_: object) -> np.ndarray:
        clock.append(sum(layer["macs"] for layer in engine.layers))
        return np.array([clock[-1] / 10_000])

    def stop(message: str) -> None:
        if message.startswith("final: "):
            raise KeyboardInterrupt

    def never(*_: object) -> np.ndarray:
        raise AssertionError("measured again")

    budget = Budget(max_latency=0.5, max_size=2000)
    monkeypatch.setattr(ladder, "milliseconds", milliseconds)
    with pytest.raises(KeyboardInterrupt):
        camfit.fit(trained, data, budget, out=tmp_path, progress=stop)
    assert len(clock) > 4
    monkeypatch.setattr(ladder, "milliseconds", never)
    result = camfit.fit(trained, data, budget, out=tmp_path)
    assert result.after.macs < 0.6 * result.before.macs
    check(result, data)


# -- the run ---------------------------------------------------------------------------------------------------


def test_another_job_is_refused_a_runs_directory(data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    nothing = Recipe("nothing")
    camfit.apply(nothing, trained, data, out=tmp_path)
    other = replace(data, classes=("a", "b", "c"))
    for change, key in (
        ({"model": tiny.net()}, "model"),
        ({"data": other}, "data"),
        ({"seed": 1}, "seed"),
        ({"half": False}, "half"),
        ({"recipe": Recipe("other")}, "recipe"),
    ):
        arguments: dict[str, Any] = {"recipe": nothing, "model": trained, "data": data, **change}
        with pytest.raises(RunError, match=rf"holds a run with {key} = .*; give another --out"):
            camfit.apply(**arguments, out=tmp_path)
    with pytest.raises(RunError, match="holds a run with budget = None"):
        camfit.fit(trained, data, Budget(max_size=1), out=tmp_path)


def test_a_finished_run_is_read_back_at_once(
    data: Dataset, trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("x", (TRAIN, Rewrite("QZ2")))
    first = camfit.apply(recipe, trained, data, out=tmp_path)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(importlib.import_module("camfit.execute"), "train", never)
    said_so: list[str] = []
    second = camfit.apply(recipe, trained, data, out=tmp_path, progress=said_so.append)
    assert said(said_so, "going on after 3 finished steps")
    assert second.record["steps"] == first.record["steps"]
    assert second.after.bytes == first.after.bytes


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(seed: int, data: Dataset, trained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CamfitError, match=rf"seed {seed}: expected 0 to"):
        camfit.apply(Recipe("nothing"), trained, data, out=tmp_path, seed=seed)


def test_unlabelled_images_get_the_models_own_answers(trained: nn.Module, data: Dataset, tmp_path: Path) -> None:
    """Whatever the labels were, the original agrees with itself, and accuracy is agreement with it."""
    nothing = [Split(split.images, np.zeros_like(split.labels)) for split in (data.train, data.val, data.test)]
    unlabelled = Dataset("mine", *nothing, data.classes, data.normalisation, labelled=False)
    recipe = Recipe("slim", (Rewrite("l1-filters", {"ratio": 0.8}),))
    result = camfit.apply(recipe, trained, unlabelled, out=tmp_path)
    assert result.before.accuracy == 1.0
    before, after = (
        Engine(tmp_path / name).run(data.test.images).argmax(1) for name in ("original.camfit", "model.camfit")
    )
    assert result.after.accuracy == np.mean(before == after) < 1.0


def test_an_untrained_model_cannot_name_images(data: Dataset, tmp_path: Path) -> None:
    unlabelled = replace(data, labelled=False)
    with pytest.raises(
        RunError, match="zoo:digits_cnn is untrained and .* has no labels; expected --weights or labels"
    ):
        camfit.apply(Recipe("none", ()), "zoo:digits_cnn", unlabelled, out=tmp_path)
