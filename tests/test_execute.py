from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from camfit.errors import BudgetError
from camfit.evaluate import Samples
from camfit.execute import Workshop, execute
from camfit.network import Network
from camfit.recipe import Recipe, Repeat, Rewrite
from camfit.run import Run
from camfit.storage import network_bytes
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train, quiet, train
from methods.chain import chain
from training import data


def net() -> Network:
    torch.manual_seed(0)
    return chain(
        (2, 6, 6), a=nn.Conv2d(2, 6, 3), relu=nn.ReLU(), b=nn.Conv2d(6, 4, 3), flatten=nn.Flatten(), fc=nn.Linear(16, 3)
    )


def workshop(samples: Samples) -> Workshop:
    return Workshop(samples, samples, classification(), 3, quiet)


def test_a_repeated_step_ranks_removes_and_trains_in_turn(tmp_path: Path) -> None:
    """Two rounds by hand: each plan looks at the network as the round before left it."""
    step = Train(1, 0.01, batch_size=16, updates=1)
    recipe = Recipe("slowly", (Repeat(2, (Rewrite("taylor", {"channels": 1, "allocation": "global"}), step)),))
    samples = data()
    with Run(tmp_path / "run", {}) as run:
        result, records = execute(recipe, net(), workshop(samples), run)
    assert [record["name"] for record in records] == ["01-taylor", "02-train", "03-taylor", "04-train"]
    expected = net()
    for turn in range(2):
        planner = recipe.in_order()[0].step
        assert isinstance(planner, Rewrite)
        expected = apply(expected, planner.planner().plan(expected, workshop(samples).calibration))
        train(expected, samples, samples, classification(), step, seed=3 + 7919 * turn)
    assert network_bytes(result) == network_bytes(expected)
    a, b = (expected.layer(path) for path in ("a", "b"))
    assert isinstance(a, nn.Conv2d) and isinstance(b, nn.Conv2d)
    assert a.out_channels + b.out_channels == 6 + 4 - 2


def test_rounds_see_other_batches(tmp_path: Path) -> None:
    recipe = Recipe("twice", (Repeat(2, (Train(1, 0.01, batch_size=8, updates=1),)),))
    once = Recipe("once", (Train(1, 0.01, batch_size=8, updates=1), Train(1, 0.01, batch_size=8, updates=1)))
    results = []
    for name, chosen in (("a", recipe), ("b", once)):
        with Run(tmp_path / name, {}) as run:
            results.append(execute(chosen, net(), workshop(data()), run)[0])
    assert network_bytes(results[0]) != network_bytes(results[1])


def test_an_error_names_the_step_and_the_round(tmp_path: Path) -> None:
    recipe = Recipe("too far", (Repeat(9, (Rewrite("l1-filters", {"channels": 3}),)),))
    with Run(tmp_path / "run", {}) as run, pytest.raises(BudgetError, match=r"step 1\.1 \(round 3\): l1-filters"):
        execute(recipe, net(), workshop(data()), run)
