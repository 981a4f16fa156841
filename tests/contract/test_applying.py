"""Laws 2 and 4: apply keeps the output's shape and never raises the cost; what it gives can be saved and trained."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from camfit.cost import macs, weights
from camfit.forms import stored_of
from camfit.method import Calibration
from camfit.network import Network
from camfit.storage import network_bytes, network_from_bytes
from camfit.surgery import apply
from contract.subjects import planner


@pytest.fixture
def rewritten(method: str, network: Network, calibration: Calibration) -> Network:
    """The network after one plan."""
    return apply(network, planner(method).plan(network, calibration))


def weighted_cost(network: Network) -> tuple[int, int]:
    """(multiply-accumulates, stored weights) of the layers that methods compress. Biases are left out: a batch-norm that
    is folded leaves one behind."""
    return sum(macs(network).values()), sum(weights(network).values())


def test_the_output_keeps_its_shape_and_stays_finite(
    rewritten: Network, network: Network, calibration: Calibration
) -> None:
    with torch.no_grad():
        before, after = network(calibration.inputs), rewritten(calibration.inputs)
    assert after.shape == before.shape
    assert bool(after.isfinite().all())


def test_the_cost_never_rises(rewritten: Network, network: Network) -> None:
    before, after = weighted_cost(network), weighted_cost(rewritten)
    assert after[0] <= before[0]
    assert after[1] <= before[1]


def test_a_rewritten_network_survives_saving_and_loading(rewritten: Network, calibration: Calibration) -> None:
    data = network_bytes(rewritten)
    loaded = network_from_bytes(data, "memory")
    assert network_bytes(loaded) == data
    with torch.no_grad():
        assert torch.equal(loaded(calibration.inputs), rewritten(calibration.inputs))


def test_one_training_step_is_finite_and_reaches_every_stored_weight(
    rewritten: Network, calibration: Calibration
) -> None:
    torch.manual_seed(0)
    rewritten.train()
    optimizer = torch.optim.SGD(rewritten.parameters(), lr=1.0)  # small steps may be lost to rounding
    loss = F.cross_entropy(rewritten(calibration.inputs), calibration.targets)
    loss.backward()
    assert bool(loss.isfinite())
    before = {path: stored_of(layer).detach().clone() for path, layer in rewritten.weighted().items()}
    for path, layer in rewritten.weighted().items():
        gradient = stored_of(layer).grad
        assert gradient is not None and bool(gradient.isfinite().all()), path
        assert bool(gradient.any()), f"{path}: no gradient reaches its stored weight"
    optimizer.step()
    for path, layer in rewritten.weighted().items():
        assert not torch.equal(stored_of(layer), before[path]), path
    with torch.no_grad():
        assert bool(rewritten(calibration.inputs).isfinite().all())
