from __future__ import annotations

import torch
from torch import nn

from camfit.bench.factorised import layer_times
from methods.chain import chain


def test_each_layer_meets_its_decompositions_at_the_share_asked_for() -> None:
    torch.manual_seed(0)
    network = chain(
        (8, 10, 10),
        conv=nn.Conv2d(8, 16, 3, 1, 1),
        depthwise=nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        point=nn.Conv2d(16, 16, 1),
        again=nn.Conv2d(16, 16, 1),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(16, 12),
    )
    rows = layer_times(network, share=0.6, seconds=0.01, rounds=2)
    assert [row.layer for row in rows] == ["conv", "point", "fc"]
    assert [[f.name for f in row.factored] for row in rows] == [["tucker", "spatial", "cp"], ["svd"], ["svd"]]
    for row in rows:
        assert row.milliseconds > 0
        for factored in row.factored:
            assert 0.3 < factored.macs <= 0.6 and factored.time > 0
    assert rows[1].factored[0].ranks == (4,)  # 4 · (16 + 16) of 256
