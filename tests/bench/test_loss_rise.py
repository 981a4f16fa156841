from __future__ import annotations

import pytest
import torch.nn.functional as F

import tiny
from camfit.bench.loss_rise import Rise, holds, lenet, rises
from camfit.evaluate import Samples, predict
from camfit.trace import trace
from camfit.train import Train


def test_a_row_is_the_pruned_networks_loss_less_the_trained_ones() -> None:
    dataset = tiny.dataset()
    network = trace(tiny.trained_net(dataset), dataset.input_shape)
    rows = rises(network, dataset, 0, (0.0, 0.9), ("uniform",), images=16)
    assert [(row.method, round(row.sparsity, 2)) for row in rows] == [
        (method, sparsity)
        for sparsity in (0.0, 0.9)
        for method in ("magnitude", "optimal-brain-damage", "optimal-brain-surgeon")
    ]
    for row in rows[:3]:
        assert row.training == pytest.approx(0, abs=1e-5)
        assert row.accuracy == row.accuracy_before
    assert all(row.training > 0 for row in rows[3:])


def test_the_subject_is_trained() -> None:
    dataset = tiny.dataset()
    network = lenet(dataset, Train(4, 0.05, batch_size=32), seed=0)
    samples = Samples.of(dataset, dataset.train)
    assert float(F.cross_entropy(predict(network, samples.inputs), samples.targets)) < 0.5


def test_a_claim_is_counted_case_by_case() -> None:
    def row(method: str, seed: int, training: float) -> Rise:
        return Rise(method, "global", seed, 0.5, training, 0.0, 0.0, 0.0)

    rows = [row("a", 0, 0.1), row("b", 0, 0.2), row("a", 1, 0.3), row("b", 1, 0.2), row("c", 0, 0.0)]
    assert holds(rows, "a", "b") == (1, 2)
    assert holds(rows, "b", "a") == (1, 2)
