from __future__ import annotations

import pytest
import torch

from camfit.methods.pruning import values_walk
from camfit.methods.pruning.values_walk import ValuesWalk
from camfit.network import Network
from camfit.trace import trace
from camfit.zoo import resnet20


def network() -> Network:
    torch.manual_seed(0)
    return trace(resnet20.build((3, 8, 8), 10, depth=8, width=4), (3, 8, 8)).eval()


def test_what_lies_ahead_is_the_networks_own_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small batches, from any place, forwards and backwards again."""
    monkeypatch.setattr(values_walk, "_NUMBERS", 1000)
    whole, inputs = network(), torch.randn(7, 3, 8, 8)
    expected = whole.values(inputs)
    walk = ValuesWalk(whole, inputs)
    assert len(walk.batches()) > 2
    for place in (0, 5, 11, 3):
        walk.go_to(whole, place)
        for number in range(place, len(whole.nodes)):
            name = whole.nodes[number].name
            ahead = torch.cat([walk.values(whole, number + 1, part)[name] for part in walk.batches()])
            torch.testing.assert_close(ahead, expected[name])
        torch.testing.assert_close(walk.outputs(whole), expected[whole.nodes[-1].name])


def test_only_what_is_still_read_is_held() -> None:
    whole = network()
    walk = ValuesWalk(whole, torch.randn(2, 3, 8, 8))
    for place in range(1, len(whole.nodes)):
        walk.go_to(whole, place)
        read = {name for node in whole.nodes[place:] for name in node.inputs}
        behind = {"input", *(node.name for node in whole.nodes[:place])}
        assert set(walk._held) == read & behind
