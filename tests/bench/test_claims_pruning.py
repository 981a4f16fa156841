from __future__ import annotations

import torch
from torch import nn

from camfit.bench.claims.factors import CLAIMS as FACTORS
from camfit.bench.claims.retraining import CLAIMS as RETRAINING
from camfit.bench.claims.retraining import pruned
from camfit.methods.pruning.magnitude import density
from methods.chain import chain

(FEWER,), (FACTORISED,) = RETRAINING, FACTORS


def retrained(times: float, lost: float) -> dict[str, float]:
    return {
        f"{name}: {which}": value
        for name in ("lenet-300-100", "lenet-5")
        for which, value in (("whole", 90.0), ("pruned", 90.0 - lost), ("times fewer weights", times))
    }


def test_twelve_times_fewer_weights_at_no_loss_on_both_networks() -> None:
    assert FEWER.verdict([retrained(12.0, 0.05)], 1) == "holds"
    assert FEWER.verdict([retrained(13.0, -0.4), retrained(13.0, 0.0), retrained(2.0, 3.0)], 3) == "holds"
    assert FEWER.verdict([retrained(11.9, 0.0)], 1) == "does not hold"
    assert FEWER.verdict([retrained(13.0, 0.2)], 1) == "does not hold"
    assert FEWER.verdict([{**retrained(13.0, 0.0), "lenet-5: times fewer weights": 5.0}], 1) == "does not hold"


def test_one_quality_leaves_the_share_in_each_layers_own_deviations_and_more_of_convolutions() -> None:
    torch.manual_seed(0)
    network = chain((60,), narrow=nn.Linear(60, 50), relu=nn.ReLU(), wide=nn.Linear(50, 40))
    with torch.no_grad():
        network.weighted()["wide"].weight.mul_(10)
    left = pruned(network, 0.25)
    assert 0.25 <= density(left) < 0.253
    shares = [float((layer.weight != 0).float().mean()) for layer in left.weighted().values()]
    assert max(shares) - min(shares) < 0.03, "thresholds are in each layer's own standard deviations"
    mixed = chain((8, 9, 9), conv=nn.Conv2d(8, 20, 3), flatten=nn.Flatten(), linear=nn.Linear(980, 20))
    left = pruned(mixed, 0.25)
    # Of uniform weights a threshold of quality·σ leaves 1 - quality/√3.
    convolution, linear = (float((layer.weight != 0).float().mean()) for layer in left.weighted().values())
    assert abs(1 - convolution - 0.5 * (1 - linear)) < 0.02


def figures(**other: float) -> dict[str, float]:
    return {
        "whole": 97.0, "before fine-tuning": 90.0, "random, before": 80.0, "after fine-tuning": 96.0,
        "random, after": 95.0, "time": 0.8, "VBMF, after fine-tuning": 96.5, "VBMF, multiply-accumulates": 0.2,
    } | other  # fmt: skip


def test_factors_must_beat_chance_and_vbmf_may_lose_a_point() -> None:
    assert FACTORISED.verdict([figures()], 1) == "holds"
    assert FACTORISED.verdict([figures(**{"VBMF, after fine-tuning": 95.9})], 1) == "does not hold"
    assert FACTORISED.verdict([figures(**{"VBMF, multiply-accumulates": 1.0})], 1) == "does not hold"
    assert FACTORISED.verdict([figures(**{"after fine-tuning": 94.0})], 1) == "does not hold"
    assert FACTORISED.verdict([figures(), figures(time=1.1)], 2) == "does not hold"
