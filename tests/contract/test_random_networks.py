"""Laws 1, 2 and 5 on random networks: whatever the network, a method works on it or is refused by name."""

from __future__ import annotations

import pytest
import torch

from camfit.cost import macs, weights
from camfit.errors import PlanError
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.network import Network
from camfit.plan import KeepChannels
from camfit.storage import network_bytes, plan_bytes, plan_from_bytes, same_plan
from camfit.surgery import apply, masked
from contract.subjects import PLANNERS, any_loss, planner
from networks import Allowed, inputs, random_network, with_forms


def rewrite(network: Network, name: str, seed: int, *, binary: bool = False) -> Network | None:
    """The network after the method's plan, None where it was refused; the laws that need no more are checked.

    A binary layer takes a zeroed channel for +1, so there removing and masking are not the same.
    """
    x = inputs(network, seed)
    calibration = Calibration(x, torch.zeros(len(x), dtype=torch.int64), seed, any_loss)
    before = network_bytes(network)
    try:
        plan = planner(name).plan(network, calibration)
        assert same_plan(plan_from_bytes(plan_bytes(plan), "memory"), plan)
        after = apply(network, plan)
    except PlanError as error:
        assert name in str(error)
        return None
    finally:
        assert network_bytes(network) == before
    with torch.no_grad():
        assert after(x).shape == network(x).shape
        assert bool(after(x).isfinite().all())
        if not binary and all(isinstance(edit, KeepChannels) for edit in plan):
            torch.testing.assert_close(after(x), masked(network, plan)(x), rtol=1e-9, atol=1e-9)
    assert sum(macs(after).values()) <= sum(macs(network).values())
    assert sum(weights(after).values()) <= sum(weights(network).values())
    return after


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", PLANNERS)
def test_a_dense_network_is_rewritten(name: str, seed: int) -> None:
    network = random_network(seed).double()
    if rewrite(network, name, seed) is None:
        assert not Graph.of(network).groups, "a method may refuse a dense network only for want of channels to cut"


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", PLANNERS)
def test_a_network_in_other_forms_is_rewritten_or_refused(name: str, seed: int) -> None:
    rewrite(with_forms(random_network(seed), seed, ("dense", "masked", "codebook", "hashed")).double(), name, seed)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", PLANNERS)
def test_a_binary_network_is_rewritten_or_refused(name: str, seed: int) -> None:
    rewrite(random_network(seed, Allowed(binary=True)).double(), name, seed, binary=True)
