from __future__ import annotations

import torch
from torch import nn

from camfit.bench.structured_scales import scale_times
from camfit.method import Calibration
from camfit.methods.pruning.structured_sparsity import StructuredSparsity
from methods.chain import chain


def test_every_way_is_timed_beside_the_whole_network() -> None:
    torch.manual_seed(0)
    network = chain(
        (4, 10, 10),
        conv1=nn.Conv2d(4, 16, 3), relu=nn.ReLU(), conv2=nn.Conv2d(16, 16, 3),
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(16, 3),
    )  # fmt: skip
    calibration = Calibration(torch.zeros(1, 4, 10, 10), torch.zeros(1, dtype=torch.int64))
    ways = [
        StructuredSparsity("feature-map", 0.5, rounds=0),
        StructuredSparsity("kernel", 0.5, rounds=0),
        StructuredSparsity("intra-kernel", 1.0, rounds=0),
    ]
    rows = scale_times(network, calibration, ways, seconds=0.01, rounds=2)
    assert [row.options for row in rows] == ways
    assert all(row.time > 0 for row in rows)
