from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from camfit.errors import RunError
from camfit.forms import Codebook, Hashed, Integer, Masked, Sign, attach, form_of, stored_of
from camfit.layers import BinaryConv2d, Quantize
from camfit.network import INPUT, Network, Node
from camfit.plan import Append, Constrain, Edit, Insert, KeepChannels, Plan, Remove, Replace, SetValues
from camfit.storage import (
    TEMPORARY,
    load_network,
    load_tensors,
    network_bytes,
    network_from_bytes,
    plan_bytes,
    plan_from_bytes,
    read_json,
    same_plan,
    save_network,
    tensors_bytes,
    write_atomically,
    write_json,
)
from networks import Allowed, inputs, random_network, with_forms

FORMS = ("dense", "masked", "codebook", "hashed", "sign")


def assert_same(found: Network, expected: Network) -> None:
    """Equal to the bit: nodes, layers, forms and tensors."""
    assert found.nodes == expected.nodes and found.input_shape == expected.input_shape
    assert repr(found) == repr(expected)
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name
    for path, layer in expected.weighted().items():
        form, twin = form_of(layer), form_of(found.layer(path))
        assert type(form) is type(twin)
        if form is not None and twin is not None:
            assert form.settings() == twin.settings() and form.origin == twin.origin
            buffers = dict(form.named_buffers())
            assert all(torch.equal(value, buffers[name]) for name, value in twin.named_buffers())


# -- networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(8))
def test_a_network_comes_back_to_the_bit(form: str, seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=seed % 2 == 1)), seed, (form,))
    for number, layer in enumerate(network.weighted().values()):
        found = form_of(layer)
        if found is not None:
            found.origin = f"method {number}"
    data = network_bytes(network)
    loaded = network_from_bytes(data, "memory")
    assert_same(loaded, network)
    assert network_bytes(loaded) == data
    images = inputs(network, seed)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_precision_survives() -> None:
    for seed, dtype in ((0, torch.float64), (1, torch.float16), (2, torch.bfloat16)):
        network = with_forms(random_network(seed), seed, ("masked", "dense", "codebook")).to(dtype)
        assert_same(network_from_bytes(network_bytes(network), "memory"), network)


def test_a_loaded_network_can_be_trained_and_is_in_evaluation_mode(tmp_path: Path) -> None:
    network = with_forms(random_network(3), 3)
    save_network(network.train(), tmp_path / "deep" / "network.safetensors")
    loaded = load_network(tmp_path / "deep" / "network.safetensors")
    assert not any(module.training for module in loaded.modules())
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()


def test_a_network_without_weights_can_be_stored() -> None:
    network = Network((Node("relu", "relu", (INPUT,)),), {"relu": nn.ReLU()}, (3,))
    assert_same(network_from_bytes(network_bytes(network), "memory"), network)


# -- plans -----------------------------------------------------------------------------------------------------


def binary() -> BinaryConv2d:
    layer = BinaryConv2d(2, 3, (3, 1), (2, 1), (1, 0), bias=False)
    attach(layer, Sign(), torch.randn(3, 2, 3, 1))
    return layer


EDITS: list[Edit] = [
    KeepChannels("group", (0, 3, 7)),
    Constrain("conv", Masked(torch.tensor([[True, False]]))),
    Constrain("conv", Codebook(torch.tensor([[0, -1, 1]]), 2), torch.tensor([0.1, -0.3])),
    Constrain("conv", Hashed((2, 3), 4, 2**32 - 1), torch.randn(4)),
    Constrain("conv", Sign(), torch.randn(2, 3)),
    Replace("conv", binary()),
    Replace("drop", nn.Dropout(0.1 + 0.2)),
    Insert("conv", "norm", nn.BatchNorm2d(3, eps=1e-3)),
    Append("conv", "bytes", Quantize(0.1, 7)),
    Constrain("conv", Integer(torch.tensor([0.1, 0.3]), 7), torch.randn(2, 3)),
    Constrain("conv", Integer(torch.tensor([0.1, 0.3]), 8, torch.rand(2, 3) < 0.5)),
    Remove("relu"),
    SetValues("conv.bias", torch.randn(3, dtype=torch.float64)),
]


def test_a_plan_comes_back_to_the_bit() -> None:
    plan = Plan("method", tuple(EDITS), "because", {"conv": {"weights": 3, "share": 1 / 3, "start": "linear"}})
    data = plan_bytes(plan)
    loaded = plan_from_bytes(data, "memory")
    assert plan_bytes(loaded) == data and same_plan(loaded, plan)
    assert str(loaded) == str(plan) and loaded.notes == plan.notes and loaded.reason == plan.reason
    for edit, again in zip(plan, loaded, strict=True):
        assert type(edit) is type(again)
        if isinstance(edit, KeepChannels | Remove):
            assert edit == again
        if isinstance(edit, Replace) and isinstance(again, Replace) and isinstance(edit.by, BinaryConv2d):
            assert torch.equal(stored_of(again.by), stored_of(edit.by)) and again.by.stride == edit.by.stride
        if isinstance(edit, SetValues) and isinstance(again, SetValues):
            assert torch.equal(edit.values, again.values) and again.values.dtype == torch.float64


@pytest.mark.parametrize("number", range(len(EDITS)))
def test_plans_that_differ_in_one_edit_are_different(number: int) -> None:
    whole = Plan("method", tuple(EDITS))
    assert not same_plan(whole, Plan("method", tuple(EDITS[:number] + EDITS[number + 1 :])))


# -- damage ----------------------------------------------------------------------------------------------------


def test_every_damaged_bit_is_noticed() -> None:
    network = with_forms(random_network(3), 3, ("masked",))
    plan = Plan("method", tuple(EDITS))
    rng = np.random.default_rng(0)
    for data, read in ((network_bytes(network), network_from_bytes), (plan_bytes(plan), plan_from_bytes)):
        for place in rng.integers(0, len(data), 400):
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            with pytest.raises(RunError, match=r"^file: "):
                read(bytes(damaged), "file")


def test_every_cut_is_noticed() -> None:
    data = network_bytes(with_forms(random_network(3), 3, ("masked",)))
    for length in range(0, len(data), 7):
        with pytest.raises(RunError, match=r"^file: "):
            network_from_bytes(data[:length], "file")


def test_a_file_of_another_kind_is_named() -> None:
    plan, network = plan_bytes(Plan("method", ())), network_bytes(random_network(0))
    with pytest.raises(RunError, match="file: holds a plan, expected a network"):
        network_from_bytes(plan, "file")
    with pytest.raises(RunError, match="file: holds a network, expected a plan"):
        plan_from_bytes(network, "file")
    with pytest.raises(RunError, match="file: not a network saved by camfit"):
        network_from_bytes(safetensors.torch.save({"a": torch.zeros(1)}), "file")


def test_what_another_version_describes_is_refused() -> None:
    """A valid container whose description this version cannot follow."""
    from camfit.storage import _to_bytes

    network = {"input_shape": [1], "nodes": [["a", "conv", ["input"]]], "layers": {"conv": {"kind": "conv9d"}}}
    with pytest.raises(RunError, match="file: not a network that this camfit can rebuild: layer kind 'conv9d'"):
        network_from_bytes(_to_bytes("network", network, {}), "file")
    with pytest.raises(RunError, match="file: not a network that this camfit can rebuild: no 'layers'"):
        network_from_bytes(_to_bytes("network", {"nodes": []}, {}), "file")
    plan = {"method": "m", "reason": "", "notes": {}, "edits": [{"edit": "paint"}]}
    with pytest.raises(RunError, match="file: .* edit0 is a 'paint', which this camfit does not know"):
        plan_from_bytes(_to_bytes("plan", plan, {}), "file")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing.safetensors: cannot be read: No such file"):
        load_network(tmp_path / "nothing.safetensors")
    with pytest.raises(RunError, match="nothing.json: not a readable JSON file"):
        read_json(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(RunError, match="half.json: not a readable JSON file"):
        read_json(tmp_path / "half.json")
    (tmp_path / "half.safetensors").write_bytes(tensors_bytes({"a": torch.ones(4)})[:-1])
    with pytest.raises(RunError, match="half.safetensors: not a readable safetensors file"):
        load_tensors(tmp_path / "half.safetensors")


def test_tensors_and_json_come_back(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6).reshape(2, 3).T, "a": torch.tensor([1 / 3], dtype=torch.float64)}
    write_atomically(tmp_path / "t.safetensors", tensors_bytes(tensors))
    loaded = load_tensors(tmp_path / "t.safetensors")
    assert loaded.keys() == tensors.keys() and all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    value = {"text": "tëst", "numbers": [1, 1 / 3, None], "deep": {"a": True}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value == json.loads((tmp_path / "v.json").read_bytes())


# -- writing ---------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for data in (b"first", b"", b"x" * 100_000):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert listed(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def listed(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def assert_old_content_stays(path: Path, data: bytes, why: str) -> None:
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"{path.name}: cannot write {len(data):,} bytes: .*{why}"):
        write_atomically(path, data)
    assert path.read_bytes() == before
    assert listed(path.parent) == [path.name], "a temporary file was left behind"


@pytest.mark.parametrize("name", ["fsync", "fdopen", "write"])
def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, descriptor: int, mode: str) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        write = full

    if name == "write":
        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(os, name, full)
    assert_old_content_stays(path, b"new", "No space left on device")


def test_a_name_that_cannot_be_taken_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError, match="taken: cannot write 3 bytes: Is a directory"):
        write_atomically(tmp_path / "taken", b"new")
    assert listed(tmp_path) == ["taken"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot write 3 bytes: (Not a directory|File exists)"):
        write_atomically(tmp_path / "file" / "below", b"new")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; skipped where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_the_old_file(tiny_disk: Path) -> None:
    path = tiny_disk / "file"
    write_atomically(path, b"old")
    assert_old_content_stays(path, bytes(200_000), "No space left on device")
    write_atomically(path, bytes(30_000))
    assert path.stat().st_size == 30_000


def test_temporary_files_carry_the_suffix_that_cleaners_look_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.extend(listed(tmp_path)), fsync(descriptor)))
    write_atomically(tmp_path / "file", b"data")
    assert len(seen) == 1 and seen[0].startswith(".file.") and seen[0].endswith(TEMPORARY)
