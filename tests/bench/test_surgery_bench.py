"""The bench of surgery, on small networks: what is done, and what the page says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.bench import surgery
from camfit.graph import Graph
from camfit.trace import trace
from camfit.zoo import resnet18, vgg16


def test_half_of_the_channels_of_every_group_go() -> None:
    network = trace(resnet18.build((3, 32, 32), 10, width=4), (3, 32, 32))
    before, after = Graph.of(network), Graph.of(surgery.halved(network))
    assert [group.name for group in after.groups] == [group.name for group in before.groups]
    assert [2 * len(group) for group in after.groups] == [len(group) for group in before.groups]


@pytest.mark.parametrize("name", surgery.WAYS)
def test_a_way_goes_from_a_file_of_weights_to_a_packed_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return vgg16.build(shape, classes, width=0.0625)

    monkeypatch.setattr(surgery, "SHAPE", (3, 32, 32))
    monkeypatch.setattr(zoo, "build", small)
    torch.manual_seed(0)
    module = small("", surgery.SHAPE, surgery.CLASSES)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    way = surgery._packed(name, tmp_path / "weights.pt")
    methods = surgery.WAYS[name] or (name,)
    assert list(way.seconds) == ["load", *methods, "pack"]
    assert all(seconds > 0 for seconds in way.seconds.values())
    dense = 4 * sum(parameter.numel() for parameter in module.parameters())
    assert 0 < way.packed_bytes < 0.6 * dense
    assert way.peak_bytes > 50e6


def test_the_page_says_what_was_met_and_what_was_missed() -> None:
    fast = surgery.Way("half of the channels", {"load": 20.0, "pack": 100.5}, 5_990_000_000, 142_500_000)
    slow = surgery.Way("magnitude pruning", {"load": 20.0, "pack": 160.5}, 5_990_000_000, 1)
    large = surgery.Way("weight sharing", {"load": 20.0}, 6_010_000_000, 1)
    report = surgery.Report("camfit bench surgery", "a processor", 2, 0.25, [0.3, 0.2, 0.21], 3904, [fast, slow, large])
    text = surgery.page(report)
    assert "median 210 ms, slowest 300 ms of 3. Goal 250 ms: met." in text
    assert "took 25.0 % of the processors' time" in text
    assert "| half of the channels | load 20.0, pack 100.5 | 120.5 | 5.99 | 142.5 | met |" in text
    assert "| magnitude pruning | load 20.0, pack 160.5 | 180.5 | 5.99 | 0.0 | **missed** |" in text
    assert "| weight sharing | load 20.0 | 20.0 | 6.01 | 0.0 | **missed** |" in text
