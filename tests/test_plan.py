from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from camfit.errors import RunError
from camfit.forms import Codebook, Form, Hashed, Integer, Masked, Sign, attach
from camfit.layers import BinaryConv2d, Quantize
from camfit.network import INPUT, Network, Node
from camfit.plan import (
    Append,
    Constrain,
    DropBranch,
    Edit,
    Factorise,
    Insert,
    KeepChannels,
    Plan,
    Remove,
    Replace,
    SetValues,
)
from camfit.storage import network_bytes, plan_bytes, plan_from_bytes, plan_parts, same_plan
from camfit.surgery import apply


def form(kind: Form, origin: str) -> Form:
    kind.origin = origin
    return kind


def binary() -> BinaryConv2d:
    layer = BinaryConv2d(2, 3, (3, 3), padding=(1, 1), scale_input=False)
    attach(layer, Sign(), torch.linspace(-1, 1, 54).reshape(3, 2, 3, 3))
    return layer


EDITS: tuple[Edit, ...] = (
    KeepChannels("conv", (0, 2)),
    Constrain("conv", form(Masked(torch.arange(6).reshape(2, 3) % 2 == 0), "magnitude")),
    Constrain("fc", Codebook(torch.tensor([[0, -1], [1, 1]]), 2), torch.tensor([0.5, -0.5])),
    Constrain("fc", Hashed((2, 3), 4, seed=2**32 - 1), torch.arange(4.0)),
    Constrain("fc", Sign()),
    Replace("conv", binary()),
    Replace("drop", nn.Dropout(0.125)),
    Insert("fc", "norm", nn.BatchNorm1d(3, eps=1e-3)),
    Append("conv@2", "bytes", Quantize(0.1, 7)),
    Constrain("fc", Integer(torch.tensor([0.1, 0.3]), 4)),
    Remove("relu"),
    SetValues("fc.weight", torch.ones(2, 3)),
    DropBranch("concat", 1),
    Factorise("conv", (("down", nn.Conv2d(2, 1, 1, bias=False)), ("up", nn.Conv2d(1, 3, (3, 1), (2, 1), (1, 0))))),
)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{type(edit).__name__}-{getattr(edit, 'layer', '')}")
def test_an_edit_survives_saving_and_loading(edit: Edit) -> None:
    plan = Plan("some-method", (edit,), "because", {"conv": {"kept": 2, "share": 0.5, "how": "by norm"}})
    loaded = plan_from_bytes(plan_bytes(plan), "memory")
    assert same_plan(loaded, plan) and same_plan(plan, loaded)
    assert plan_bytes(loaded) == plan_bytes(plan)
    assert str(loaded) == str(plan)
    assert (loaded.method, loaded.reason, loaded.notes) == (plan.method, plan.reason, plan.notes)


def test_plans_that_differ_in_one_edit_value_or_order_are_not_the_same() -> None:
    whole = Plan("m", EDITS)
    assert same_plan(whole, Plan("m", EDITS))
    assert not same_plan(whole, Plan("m", EDITS[:-1]))
    assert not same_plan(whole, Plan("m", EDITS[::-1]))
    assert not same_plan(whole, Plan("m", (*EDITS[:-1], SetValues("fc.weight", torch.zeros(2, 3)))))
    assert not same_plan(whole, Plan("m", (KeepChannels("conv", (0, 1)), *EDITS[1:])))


def test_a_plan_prints_one_line_an_edit() -> None:
    lines = str(Plan("l1-filters", EDITS, "smaller")).splitlines()
    assert lines[0] == "l1-filters: smaller"
    assert lines[1] == "  keep 2 channels of group 'conv'"
    assert lines[2] == "  constrain 'conv' to form masked"
    assert lines[7] == "  replace 'drop' by Dropout(p=0.125, inplace=False)"
    assert lines[9] == "  append 'bytes' (Quantize(scale=0.1, zero_point=7)) behind 'conv@2'"
    assert lines[11] == "  remove 'relu'"
    assert lines[12] == "  set 'fc.weight' [2, 3]"
    assert lines[13] == "  drop branch 1 of 'concat'"
    assert lines[14].startswith("  factorise 'conv' into down Conv2d(2, 1, kernel_size=(1, 1)")
    assert ", up Conv2d(1, 3, kernel_size=(3, 1)" in lines[14]


def test_saving_takes_a_copy_of_the_plans_tensors() -> None:
    values = torch.ones(3)
    _, arrays = plan_parts(Plan("m", (SetValues("fc.bias", values),)))
    values.zero_()
    assert torch.equal(arrays["edit0/values"], torch.ones(3))


def test_a_loaded_plan_does_what_the_first_does() -> None:
    layers: dict[str, nn.Module] = {"conv": nn.Conv2d(1, 3, 3), "flatten": nn.Flatten(), "fc": nn.Linear(12, 2)}
    names = [INPUT, *layers]
    nodes = tuple(Node(b, b, (a,)) for a, b in zip(names, layers, strict=False))
    network = Network(nodes, layers, (1, 4, 4)).eval()
    plan = Plan("m", (KeepChannels("conv", (2, 0)), Constrain("fc", Hashed((2, 8), 3, 7), torch.arange(3.0))))
    loaded = plan_from_bytes(plan_bytes(plan), "memory")
    assert network_bytes(apply(network, loaded)) == network_bytes(apply(network, plan))


def test_damaged_or_foreign_bytes_are_refused_by_name() -> None:
    data = plan_bytes(Plan("m", EDITS))
    for broken in (b"", data[:20], data[:-1], data.replace(b"keep_channels", b"keep_channelz")):
        with pytest.raises(RunError, match="some/file"):
            plan_from_bytes(broken, "some/file")
    layers: dict[str, nn.Module] = {"fc": nn.Linear(2, 2)}
    network = Network((Node("fc", "fc", (INPUT,)),), layers, (2,))
    with pytest.raises(RunError, match="holds a network, expected a plan"):
        plan_from_bytes(network_bytes(network), "some/file")


def test_descriptions_are_json() -> None:
    description, _ = plan_parts(Plan("m", EDITS))
    assert json.loads(json.dumps(description)) == description
