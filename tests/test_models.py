"""Where models come from: each source, weights beside it, and errors that say what does not fit."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import tiny
from camfit import models
from camfit.data import Dataset
from camfit.errors import ModelError


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny.dataset()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.export.save(torch.export.export(tiny.net(3).eval(), (torch.zeros(2, 1, 8, 8),)), path)
    return path


def refusal(source: models.ModelSource, data: Dataset, weights: Path | None = None) -> str:
    with pytest.raises(ModelError) as refused:
        models.load(source, data, weights=weights)
    return str(refused.value)


def outputs(module: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = module.eval()(torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8))
    return result


# -- sources ---------------------------------------------------------------------------------------------------


def test_every_source_gives_the_same_network(tmp_path: Path, data: Dataset, exported: Path) -> None:
    net = tiny.net(3)
    expected = outputs(net)
    weights = tmp_path / "net.safetensors"
    safetensors.torch.save_file(net.state_dict(), weights)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    file = tiny.write_model(tmp_path)
    found = [
        models.load(net, data),
        models.load(exported, data),
        models.load(str(exported), data),
        models.load(torch.export.load(exported), data),
        *(models.load(file, data, weights=tmp_path / f"net.{kind}") for kind in ("safetensors", "pt", "pth")),
        models.load(tiny.net(4), data, weights=weights),
    ]
    for model in found:
        torch.testing.assert_close(outputs(model.network), expected)
    assert len({model.fingerprint for model in found}) == 1
    # Whether weights that came in the model itself are any good, nobody said.
    assert [model.trained for model in found] == [None, None, None, None, True, True, True, True]


def test_fresh_weights_come_from_the_seed_alone(tmp_path: Path, data: Dataset) -> None:
    file = tiny.write_model(tmp_path)
    state = torch.get_rng_state()
    first, again, other = (models.load(file, data, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers go on as they were"
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.trained is False


def test_a_module_at_hand_stays_as_it_is(data: Dataset) -> None:
    net = tiny.net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = models.load(net, data)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_weights_do_not_change_the_module_they_are_loaded_for(tmp_path: Path, data: Dataset) -> None:
    weights = tmp_path / "w.safetensors"
    safetensors.torch.save_file(tiny.net(5).state_dict(), weights)
    net = tiny.net(6)
    before = outputs(net)
    models.load(net, data, weights=weights)
    assert torch.equal(outputs(net), before)


def test_a_users_file_may_import_its_neighbours(tmp_path: Path, data: Dataset) -> None:
    (tmp_path / "neighbour_blocks.py").write_text("from torch import nn\nhead = nn.Linear\n")
    (tmp_path / "mine.py").write_text(
        "from neighbour_blocks import head\nfrom torch import nn\n"
        "class Net(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Flatten(), head(64, 3))\n"
    )
    assert models.load(f"{tmp_path}/mine.py:Net", data).network.layer_paths() == ("flatten", "1")


def test_training_is_the_zoos_own_or_the_general_one(data: Dataset) -> None:
    zoo = models.default_training("zoo:digits_cnn", data)
    assert (zoo.batch_size, zoo.augment) == (64, "none")
    general = models.default_training("mine.py:build", data)
    assert general.epochs == 200
    assert models.load(tiny.net(), data).training == general
    with pytest.raises(ModelError, match="unknown architecture 'nonet'"):
        models.default_training("zoo:nonet", data)


def test_a_mirror_is_for_data_that_survives_it(data: Dataset) -> None:
    assert "flip" not in models.default_training("zoo:resnet20", data).augment


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("lenet5", "model 'lenet5': expected zoo:NAME (alexnet, "),
        ("zoo:lenet6", "unknown architecture 'lenet6'; expected one of alexnet, "),
        ("none.py:build", "none.py: no such file"),
        ("none.pt2", "none.pt2: no such file"),
    ],
)
def test_unknown_models(source: str, message: str, data: Dataset) -> None:
    assert message in refusal(source, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def buidl(): pass", "spots.py: has no callable 'build'; found buidl"),
        ("def build(a): pass", "takes 1 arguments; expected none, or (input_shape, classes)"),
        ("def build(): return 3", "returned int; expected a torch.nn.Module"),
        ("def build(): return 1 / 0", "the factory failed: ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("def build(:", "cannot be imported: SyntaxError"),
        ("from torch import nn\nbuild = nn.Flatten", "has no convolution and no linear layer"),
        (
            "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))",
            "outputs of shape [5]",
        ),
        (
            "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(65, 3))",
            "cannot be traced on input [1",
        ),
        (
            "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.GELU())",
            "unknown op aten.gelu.default in module '2'; camfit knows aten._assert",
        ),
    ],
)
def test_files_that_make_no_usable_model(text: str, message: str, tmp_path: Path, data: Dataset) -> None:
    refused = refusal(tiny.write_model(tmp_path, text), data)
    assert message in refused
    assert "\n" not in refused


def test_weights_that_do_not_fit(tmp_path: Path, data: Dataset) -> None:
    file, weights = tiny.write_model(tmp_path), tmp_path / "w.safetensors"
    state = tiny.net().state_dict()

    def refused_with(**changes: Tensor | None) -> str:
        changed = {name: value for name, value in (state | changes).items() if value is not None}
        safetensors.torch.save_file(changed, weights)
        return refusal(file, data, weights)

    shape = {"9.weight": torch.zeros(3, 17)}
    assert refused_with(**shape) == f"{weights}: 9.weight has shape [3, 17]; the model expects [3, 16]"
    assert "lacks 9.bias; has, not in the model, nothing" in refused_with(**{"9.bias": None})
    assert "lacks nothing; has, not in the model, extra" in refused_with(extra=torch.zeros(1))
    assert "9.bias holds values that are not finite" in refused_with(**{"9.bias": torch.full((3,), torch.nan)})


def test_files_that_are_no_weights(tmp_path: Path, data: Dataset, exported: Path) -> None:
    file = tiny.write_model(tmp_path)
    for name, content, message in (
        ("none.safetensors", None, "no such weights file"),
        ("w.safetensors", b"no safetensors", "not a readable safetensors file"),
        ("w.pt", b"no archive", "cannot be read as plain weights"),
        ("w.onnx", b"", "weights of type .onnx; expected .safetensors, .pt or .pth"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        assert re.match(rf"{path}: {message}", refusal(file, data, path))
    torch.save([torch.zeros(1)], tmp_path / "w.pt")
    assert "holds a list; expected a state dict" in refusal(file, data, tmp_path / "w.pt")
    assert "brings its own weights; leave --weights out" in refusal(exported, data, tmp_path / "w.pt")


def test_an_exported_program_for_other_images(tmp_path: Path, data: Dataset) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(49, 3)).eval()
    program = torch.export.export(net, (torch.zeros(2, 1, 7, 7),))
    assert "exported for inputs of shape [1, 7, 7]; the data has [1, 8, 8]" in refusal(program, data)


# -- nothing is unpickled --------------------------------------------------------------------------------------


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return (Path.write_text, (self.path, "executed"))


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_weights_that_would_execute_code_do_not(suffix: str, tmp_path: Path, data: Dataset) -> None:
    mark, file = tmp_path / "mark", tiny.write_model(tmp_path)
    archive, plain = tmp_path / f"archive{suffix}", tmp_path / f"plain{suffix}"
    torch.save({"9.weight": Bomb(mark)}, archive)
    plain.write_bytes(pickle.dumps(Bomb(mark)))
    for path in (archive, plain):
        refused = refusal(file, data, path)
        assert refused.startswith(f"{path}: cannot be read as plain weights (nothing else is unpickled)")
        assert "\n" not in refused
    assert not mark.exists()


def test_an_exported_program_that_would_execute_code_does_not(tmp_path: Path, data: Dataset, exported: Path) -> None:
    mark, root = tmp_path / "mark", exported.stem
    buffer = io.BytesIO()
    torch.save(Bomb(mark), buffer)
    bomb = buffer.getvalue()
    with zipfile.ZipFile(exported) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = f"{root}/data/weights/model_weights_config.json"
    pickled = json.loads(members[weights])
    pickled["config"]["0.weight"]["use_pickle"] = True
    opaque = {
        "config": {"c": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}}
    }
    graph = members[f"{root}/models/model.json"].replace(
        b'{"as_int": 2}', b'{"as_expr": {"expr_str": "print(__import__)"}}'
    )
    attacks = {
        "'0.weight' is a pickled object": {
            weights: json.dumps(pickled).encode(),
            f"{root}/data/weights/weight_0": bomb,
        },
        "example inputs are pickled objects": {f"{root}/data/sample_inputs/model.pt": bomb},
        "'c' is a pickled object": {f"{root}/data/constants/model_constants_config.json": json.dumps(opaque).encode()},
        "holds 'net/data/constants/opaque_obj_0'": {f"{root}/data/constants/opaque_obj_0": pickle.dumps(Bomb(mark))},
        "holds 'net/data/aotinductor/model/x.so'": {f"{root}/data/aotinductor/model/x.so": b"\x7fELF"},
        "two members of one name": {weights.upper(): members[weights]},
        "not a .pt2 file": {weights: b"{}"},
        "a size is given as 'print(__import__)'": {f"{root}/models/model.json": graph},
    }
    for number, (message, changes) in enumerate(attacks.items()):
        path = tmp_path / f"{number}" / "net.pt2"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, content in (members | changes).items():
                archive.writestr(name, content)
        assert message in refusal(path, data)
    assert not mark.exists()


def test_what_is_no_exported_program(tmp_path: Path, data: Dataset, exported: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"nothing")
    assert refusal(path, data).startswith(f"{path}: not a .pt2 file")
    path.write_bytes(exported.read_bytes()[:-100])
    assert refusal(path, data).startswith(f"{path}: ")
