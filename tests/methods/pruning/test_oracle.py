from __future__ import annotations

import pytest
import torch

from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.oracle import correlations, oracle
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import digits_cnn, fire_small


@pytest.mark.parametrize("build", [digits_cnn.build, fire_small.build], ids=["chain", "concat"])
def test_the_oracle_says_what_cutting_the_channel_does(build) -> None:  # type: ignore[no-untyped-def]
    """Without batch-norm a map of zeros behind the activation is an absent one."""
    torch.manual_seed(0)
    network = trace(build((1, 16, 16), 4), (1, 16, 16)).double().eval()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(8, 1, 16, 16, generator=generator, dtype=torch.float64)
    data = Calibration(images, torch.arange(8) % 4)
    graph = Graph.of(network)
    changes = oracle(network, graph.groups, data)
    with torch.no_grad():
        whole = float(data.loss(network(data.inputs), data.targets))
        for group in graph.groups:
            for channel in (0, len(group) - 1):
                keep = tuple(other for other in range(len(group)) if other != channel)
                cut = apply(network, Plan("test", (KeepChannels(group.name, keep),)))
                change = float(data.loss(cut(data.inputs), data.targets)) - whole
                assert float(changes[group.name][channel]) == pytest.approx(change, abs=1e-9)


def test_correlations_are_of_ranks() -> None:
    truth = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([3.0, 1.0, 2.0]), "c": torch.tensor([1.0, 2.0])}
    ours = {"a": torch.tensor([10.0, 20.0, 1e9]), "b": torch.tensor([1.0, 3.0, 2.0]), "c": torch.tensor([1.0, 2.0])}
    found = correlations(ours, truth)
    assert found["a"] == pytest.approx(1.0)
    assert found["b"] == pytest.approx(-1.0)
    assert "c" not in found and "all" in found
    assert correlations({"a": torch.ones(3)}, {"a": truth["a"]}) == {}
