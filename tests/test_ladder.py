"""The ladder's decisions: which rungs are tried, where it turns back, what is delivered. Networks are played by figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from camfit import ladder as ladders
from camfit.budget import Budget
from camfit.engine import Engine
from camfit.errors import TrainingError
from camfit.execute import Workshop
from camfit.ladder import RUNGS, WHOLE, Candidate, Climb, Ladder
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.network import Network
from camfit.pack import Packed, pack
from camfit.run import Run
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, quiet

Shape = tuple[float, int, int]
FIRST = RUNGS[0][0]
# Of the step between the last rung outside and the first inside; few, so that the densities can be told by hand.
HALVINGS = 2


@dataclass
class Landscape:
    """What each density costs and is worth; ``polish`` changes (bytes, metric) of the last candidate."""

    size: Callable[[float], int]
    metric: Callable[[float], float]
    ms: float = 1.0
    polish: tuple[int, float] = (0, 0.0)
    tried: list[str] = field(default_factory=list)

    def candidate(self, name: str, density: float) -> Candidate:
        self.tried.append(name)
        grown, gained = self.polish if name == "final" else (0, 0.0)
        data = bytes(self.size(density) + grown)
        return Candidate(name, None, Packed(data, {}, {}), density, self.metric(density) + gained, self.ms)  # type: ignore[arg-type]


def climb(monkeypatch: pytest.MonkeyPatch, budget: Budget, landscape: Landscape, polish: Any = None) -> Climb:
    """The climb over a landscape instead of networks. A network is played by its way: the rungs that made it."""

    def rung(
        _: Ladder, name: str, source: str, shape: Shape, curves: object
    ) -> tuple[str, Candidate, list[Any], list[Any]]:
        way = f"{source}>{name}"
        return way, landscape.candidate(name, shape[0]), [{"name": f"{way} prune"}], [{"name": f"{name} share"}]

    def polished(_: Ladder, best: Candidate, thin: str) -> tuple[Candidate, list[Any], list[Any]]:
        assert thin.endswith(best.name)
        return landscape.candidate("final", best.density), [{"name": f"{thin} more"}], [{"name": "final share"}]

    monkeypatch.setattr(
        Ladder, "_candidate", lambda _, name, network, density, half=True: landscape.candidate(name, density)
    )
    monkeypatch.setattr(ladders, "BISECTIONS", HALVINGS)
    monkeypatch.setattr(Ladder, "_curves", lambda _, network: {})
    monkeypatch.setattr(Ladder, "_slim", lambda _: ("slim", [{"name": "slimmed"}]))
    monkeypatch.setattr(Ladder, "_rung", rung)
    monkeypatch.setattr(Ladder, "_polish", polish or polished)
    return _ladder("original", budget).climb()


def _ladder(original: Any, budget: Budget, run: Any = None, training: Train = tiny.TRAINING) -> Ladder:
    data = tiny.dataset()
    workshop = Workshop.of(data, classification(), 0, quiet)
    return Ladder(original, data, workshop, run, budget, 0.9, 1, {}, training)


def _bytes(density: float) -> int:
    return round(10_000 * density)


def _falling(density: float) -> float:
    """90 % down to a density of 0.1, then a cliff."""
    return 0.9 if density >= 0.1 else 0.9 * density / 0.1


def _names(*numbers: int) -> list[str]:
    return [f"rung-{number}" for number in numbers]


def test_size_climbs_until_it_fits_then_halves_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, lambda density: 0.8 + 0.1 * density)
    found = climb(monkeypatch, Budget(max_size=1_600), landscape)
    backs = [f"rung-4-back-{turn + 1}" for turn in range(HALVINGS)]
    assert landscape.tried == [WHOLE, *_names(1, 2, 3, 4), *backs, "final"]
    densities = {trial["name"]: trial["density"] for trial in found.trials}
    first = math.sqrt(0.2 * 0.13)
    # The first try, 1,612 bytes, is too large still: the second lies between it and the rung that fits.
    assert densities["rung-4-back-1"] == pytest.approx(first)
    assert densities["rung-4-back-2"] == pytest.approx(math.sqrt(first * 0.13))
    assert found.best.name == "rung-4-back-2", "the most accurate of those that fit"
    assert [trial["met"] for trial in found.trials] == [False, False, False, True, False, True, True]
    assert [trial["name"] for trial in found.trials if trial["chosen"]] == ["rung-4-back-2"]


def test_the_way_holds_every_step_from_the_original_on(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, lambda density: 0.8 + 0.1 * density)
    found = climb(monkeypatch, Budget(max_size=1_600), landscape)
    trail = "original>rung-1>rung-2>rung-3>rung-4-back-1>rung-4-back-2"
    ends = [end for end in range(len(trail) + 1) if trail[end : end + 1] in (">", "") and ">" in trail[:end]]
    assert [step["name"] for step in found.steps] == [*(f"{trail[:end]} prune" for end in ends), "rung-4-back-2 share"]
    polished = Landscape(_bytes, lambda density: 0.8 + 0.1 * density, polish=(0, 0.01))
    found = climb(monkeypatch, Budget(max_size=1_600), polished)
    assert found.best.name == "final"
    assert [step["name"] for step in found.steps][-2:] == [f"{trail} more", "final share"]
    assert len(found.steps) == len(ends) + 2


def test_a_first_rung_that_fits_is_not_turned_back_from(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, _falling)
    found = climb(monkeypatch, Budget(max_size=6_000), landscape)
    assert landscape.tried == [WHOLE, "rung-1", "final"]
    assert found.best.name == "rung-1"
    assert [trial["name"] for trial in found.trials] == ["rung-1", "final"], (
        "the whole network does not come into question"
    )


def test_a_first_rung_that_fits_but_breaks_the_drop_is_turned_back_from(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, lambda density: 0.9 if density > 0.55 else 0.5)
    found = climb(monkeypatch, Budget(max_size=8_000, max_drop=1), landscape)
    assert landscape.tried == [WHOLE, "rung-1", "rung-1-back-1", "rung-1-back-2", "final"]
    assert found.best.density == pytest.approx(math.sqrt(FIRST))
    assert ladder_meets(found)


def ladder_meets(found: Climb) -> bool:
    return next(trial["met"] for trial in found.trials if trial["chosen"])


def test_a_drop_alone_ends_at_the_smallest_that_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, _falling)
    found = climb(monkeypatch, Budget(max_drop=1), landscape)
    assert landscape.tried[:6] == [WHOLE, *_names(1, 2, 3, 4, 5)], "rung 5, at 0.09, loses 9 points"
    good = [trial for trial in found.trials if trial["met"]]
    assert found.best.density == min(trial["density"] for trial in good) == pytest.approx(math.sqrt(0.13 * 0.09))
    assert found.trials[0]["name"] == WHOLE, "with no size limit the whole network meets the budget, and is shown"


def test_a_drop_that_the_first_rung_breaks_is_kept_nearer_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, lambda density: 0.9 if density > 0.6 else 0.3)
    found = climb(monkeypatch, Budget(max_drop=0), landscape)
    assert landscape.tried == [WHOLE, "rung-1", "rung-1-back-1", "rung-1-back-2", "final"]
    assert found.best.density == pytest.approx(math.sqrt(FIRST))
    assert ladder_meets(found)


def test_a_drop_that_every_rung_breaks_delivers_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = climb(monkeypatch, Budget(max_drop=0), Landscape(_bytes, lambda density: 0.9 if density == 1 else 0.3))
    assert found.best.name == WHOLE
    assert found.steps == []
    assert ladder_meets(found)


def test_a_drop_that_no_rung_breaks_ends_at_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, lambda density: 0.95)
    found = climb(monkeypatch, Budget(max_drop=0), landscape)
    assert landscape.tried == [WHOLE, *_names(*range(1, len(RUNGS) + 1)), "final"]
    assert found.best.density == RUNGS[-1][0]


def test_an_impossible_size_ends_with_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(_bytes, _falling)
    found = climb(monkeypatch, Budget(max_size=1), landscape)
    assert landscape.tried == [WHOLE, *_names(*range(1, len(RUNGS) + 1)), "final"]
    assert found.best.density == RUNGS[-1][0]
    assert not any(trial["met"] for trial in found.trials)
    assert sum(trial["chosen"] for trial in found.trials) == 1


def test_what_breaks_two_limits_is_as_close_as_possible_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    # 20 % too large and within the drop is closer than fitting with nearly all accuracy lost.
    landscape = Landscape(_bytes, lambda density: 0.9 if density > 0.19 else 0.1)
    found = climb(monkeypatch, Budget(max_size=1_667, max_drop=1), landscape)
    assert found.best.density == 0.2
    assert not ladder_meets(found)


def test_a_whole_network_that_fits_competes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = climb(monkeypatch, Budget(max_size=20_000), Landscape(_bytes, lambda density: 0.5 + 0.4 * density))
    assert found.best.name == WHOLE
    worse = climb(monkeypatch, Budget(max_size=20_000), Landscape(_bytes, lambda density: 0.9))
    assert worse.best.name == "rung-1", "of equally accurate ones the smaller"


def test_a_polish_that_breaks_a_limit_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    too_large = Landscape(_bytes, _falling, polish=(2_000, 0.05))
    assert climb(monkeypatch, Budget(max_size=6_000), too_large).best.name == "rung-1"
    too_weak = Landscape(_bytes, _falling, polish=(-100, -0.05))
    assert climb(monkeypatch, Budget(max_drop=1), too_weak).best.name != "final"
    better = Landscape(_bytes, _falling, polish=(10, 0.01))
    assert climb(monkeypatch, Budget(max_size=6_000), better).best.name == "final"


def test_a_polish_that_breaks_down_leaves_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise TrainingError("final-prune-01-train: the loss became nan")

    assert climb(monkeypatch, Budget(max_size=6_000), Landscape(_bytes, _falling), polish=breaks).best.name == "rung-1"


@pytest.mark.parametrize(
    ("optimizer", "rate", "expected"), [("sgd", 0.1, 0.02), ("sgd", 0.001, 0.001), ("adam", 0.001, 0.001)]
)
def test_training_between_rewrites_follows_the_originals(optimizer: Any, rate: float, expected: float) -> None:
    training = Train(3, rate, optimizer=optimizer, augment="shift")
    network = trace(tiny.net(), tiny.dataset().input_shape)
    found = _ladder(network, Budget(max_size=1), training=training)._recovery(2)
    assert (found.optimizer, found.learning_rate, found.augment) == (optimizer, expected, "shift")


def test_a_latency_alone_tries_no_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, met in ((2.0, True), (0.5, False)):
        landscape = Landscape(_bytes, _falling)
        found = climb(monkeypatch, Budget(max_latency=limit), landscape)
        assert landscape.tried == [WHOLE]
        assert [step["name"] for step in found.steps] == ["slimmed"]
        assert ladder_meets(found) is met


def test_with_a_latency_every_way_begins_with_the_slimming(monkeypatch: pytest.MonkeyPatch) -> None:
    found = climb(monkeypatch, Budget(max_latency=2, max_size=6_000), Landscape(_bytes, _falling))
    assert [step["name"] for step in found.steps] == ["slimmed", "slim>rung-1 prune", "rung-1 share"]


# -- latency ---------------------------------------------------------------------------------------------------


def _by_work(engine: Engine, image: np.ndarray, seconds: float) -> np.ndarray:
    """A made-up clock: a millisecond for 2,000 multiply-accumulates."""
    return np.array([sum(layer["macs"] for layer in engine.layers) / 2_000])


@pytest.fixture(scope="module")
def original() -> Network:
    return trace(tiny.net(), (1, 8, 8))


@pytest.fixture(scope="module")
def times(original: Network) -> dict[float, float]:
    """Milliseconds of the network without each share of its filters, one by one."""
    found = {}
    for ratio in (0.0, *ladders._RATIOS):
        plan = L1Filters(ratio=ratio).plan(original, None)  # type: ignore[arg-type]
        slimmed = pack(apply(original, plan), tiny.dataset().normalisation)
        found[ratio] = float(_by_work(Engine(slimmed.data), np.zeros(1), 0)[0])
    return found


@pytest.mark.parametrize("limit", [6.0, 4.1, 2.0, 0.5, 0.01])
def test_the_smallest_ratio_that_is_fast_enough(
    limit: float, original: Network, times: dict[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladders, "milliseconds", _by_work)
    found = _ladder(original, Budget(max_latency=limit))._latency_ratio(limit)
    expected = [ratio for ratio, ms in times.items() if ms <= ladders._MARGIN * limit]
    assert found == (min(expected) if expected else ladders._RATIOS[-1])
    assert 6.0 > times[0.0] > 4.1
    assert 0.475 > times[ladders._RATIOS[-1]] > 0.01


def test_a_network_without_filters_to_remove_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ladders, "milliseconds", _by_work)
    torch.manual_seed(0)
    only = trace(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
    budget = Budget(max_latency=1e-6)
    with Run(tmp_path, {}) as run:
        network, steps = _ladder(only, budget, run)._slim()
    assert network is only
    assert steps == []


def test_a_latency_is_decided_once_a_run(original: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ladders, "milliseconds", _by_work)
    budget = Budget(max_latency=3.0)
    with Run(tmp_path, {}) as run:
        first, _ = _ladder(original, budget, run)._slim()

    def again(*_: object) -> np.ndarray:
        raise AssertionError("measured again")

    monkeypatch.setattr(ladders, "milliseconds", again)
    with Run(tmp_path, {}) as run:
        second, _ = _ladder(original, budget, run)._slim()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first(images), second(images))
