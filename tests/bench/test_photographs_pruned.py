"""The public network without its batch-norms, its repair without labels, and the page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from camfit.bench import photographs_pruned
from camfit.bench.machine import this_machine
from camfit.bench.photographs_pruned import (
    Report,
    Row,
    Scheme,
    by_photograph,
    divergence,
    measure,
    page,
    repair,
    without_norms,
)
from camfit.evaluate import Samples, predict
from camfit.method import Calibration
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.network import Network
from camfit.surgery import apply
from camfit.trace import trace
from camfit.train import Train, quiet
from camfit.zoo import mobilenet_v2


def small() -> Network:
    torch.manual_seed(0)
    network = trace(mobilenet_v2.build((3, 32, 32), 10), (3, 32, 32))
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return network.eval()


def test_folded_network_computes_the_same_and_has_no_norms() -> None:
    network, inputs = small(), torch.randn(4, 3, 32, 32)
    plain = without_norms(network)
    assert not [path for path, layer in plain.layers() if isinstance(layer, torch.nn.BatchNorm2d)]
    expected = predict(network, inputs)
    assert float((predict(plain, inputs) - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_repair_moves_the_outputs_towards_the_whole_networks_and_looks_at_no_label() -> None:
    training = Train(4, learning_rate=0.02, batch_size=8, clip=1.0)
    whole = without_norms(small())
    inputs = torch.randn(48, 3, 32, 32)
    cut = apply(whole, L1Filters(macs=0.3).plan(whole, Calibration(inputs, torch.zeros(48, dtype=torch.int64)))).eval()
    expected = predict(whole, inputs)
    found = []
    for labels in (torch.zeros(48, dtype=torch.int64), torch.arange(48) % 10):
        network = cut.clone()
        repair(network, whole, Samples(inputs, labels), training, 0, quiet)
        found.append(predict(network, inputs))
    assert torch.equal(found[0], found[1])
    before = (predict(cut, inputs).softmax(1) - expected.softmax(1)).abs().mean()
    assert (found[0].softmax(1) - expected.softmax(1)).abs().mean() < 0.8 * before


def test_planning_sees_the_photographs_one_behind_the_other() -> None:
    whole = small()
    inputs = torch.arange(8.0)[:, None, None, None].expand(8, 3, 32, 32).contiguous()  # of three photographs in turn
    named = by_photograph(whole, inputs, 3, False, 0)
    assert named.inputs[:, 0, 0, 0].tolist() == [0, 3, 6, 1, 4, 7, 2, 5]
    assert torch.equal(named.targets, predict(whole, named.inputs).argmax(1))
    soft = by_photograph(whole, inputs, 3, True, 0)
    assert float(soft.loss(soft.targets, soft.targets)) == pytest.approx(0, abs=1e-6)


def test_divergence_is_the_papers_sum() -> None:
    """From (1/2, 1/2) to (3/4, 1/4): ln 2 - ln 3 / 2."""
    found, expected = torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
    assert float(divergence(found, expected)) == pytest.approx(math.log(2) - math.log(3) / 2)


def a_row(name: str, repaired: bool, agree: int) -> Row:
    half = [(agree // 2, 28), (agree - agree // 2, 28)]
    return Row(name, repaired, agree, 56, half, 5 * agree, 280, 10.0, 0.7, 0.8)


def test_finished_schemes_are_read_back_and_a_kill_loses_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    fails = {"b"}

    def measure_scheme(scheme: Scheme, setting: object, seed: int, progress: object) -> list[Row]:
        if scheme.name in fails:
            raise KeyboardInterrupt
        measured.append(scheme.name)
        return [a_row(scheme.name, repaired, 20) for repaired in (False, True)]

    schemes = tuple(Scheme(name, L1Filters(macs=0.3)) for name in ("a", "b"))
    monkeypatch.setattr(photographs_pruned, "SCHEMES", schemes)
    monkeypatch.setattr(photographs_pruned, "prepare", lambda crops, seed: None)
    monkeypatch.setattr(photographs_pruned, "measure_scheme", measure_scheme)
    with pytest.raises(KeyboardInterrupt):
        measure(64, 0, tmp_path, "x")
    fails.clear()
    report = measure(64, 0, tmp_path, "x")
    assert measured == ["a", "b"]
    assert [row.name for row in report.rows] == ["a", "a", "b", "b"]
    assert report.rows[0] == a_row("a", False, 20)
    measure(96, 0, tmp_path, "x")
    assert measured == ["a", "b", "a", "b"]  # of other settings


def test_page_names_the_chosen_row_not_the_best_and_plain_l1() -> None:
    rows = [a_row("L1 filters (PR6)", False, 7), a_row("ThiNet (PR7)", False, 42), a_row("ThiNet (PR7)", True, 28)]
    text = page(Report("camfit bench photographs-pruned", 0, 480, this_machine(), rows))
    assert "ThiNet (PR7), repaired. It keeps 50.0 % of top-1 (50.0 % of the crops), without repair 75.0 %" in text
    assert "L1 filters (PR6), without repair keeps 12.5 %." in text
    assert "| ThiNet (PR7) | no | 75.0 % (42 of 56) | 21 of 28, 21 of 28 | 75.0 % of 280 |" in text
