"""Law 1: planning changes nothing; a plan survives saving and loading; same seed, same plan."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from camfit import catalog
from camfit.method import Calibration
from camfit.network import Network
from camfit.storage import network_bytes, plan_bytes, plan_from_bytes, same_plan
from camfit.surgery import apply, check
from contract.subjects import planner


def test_planning_and_applying_leave_the_network_bit_identical(
    method: str, network: Network, calibration: Calibration
) -> None:
    before, modes = network_bytes(network), [module.training for module in network.modules()]
    images = calibration.inputs.clone()
    plan = planner(method).plan(network, calibration)
    check(network, plan)
    apply(network, plan)
    assert network_bytes(network) == before
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(calibration.inputs, images)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_same_seed_gives_the_same_plan_whatever_torch_drew_before(
    method: str, network: Network, calibration: Calibration
) -> None:
    torch.manual_seed(1)
    first = planner(method).plan(network, calibration)
    torch.manual_seed(2)
    second = planner(method).plan(network.clone(), dataclasses.replace(calibration))
    assert same_plan(first, second)
    assert plan_bytes(first) == plan_bytes(second)


def test_a_plan_survives_saving_and_loading(method: str, network: Network, calibration: Calibration) -> None:
    plan = planner(method).plan(network, calibration)
    loaded = plan_from_bytes(plan_bytes(plan), "memory")
    assert same_plan(loaded, plan)
    assert str(loaded) == str(plan)
    assert network_bytes(apply(network, loaded)) == network_bytes(apply(network, plan))


def test_a_plan_carries_its_methods_name_and_a_reason(method: str, network: Network, calibration: Calibration) -> None:
    plan = planner(method).plan(network, calibration)
    assert plan.method == method
    assert plan.reason and len(plan) > 0


@pytest.mark.parametrize("name", list(catalog.methods()))
def test_options_are_frozen_data_with_defaults(name: str) -> None:
    entry = catalog.methods()[name]
    options = entry.options()
    assert dataclasses.is_dataclass(options)
    assert options == entry.options()
    for field in dataclasses.fields(options):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, getattr(options, field.name))
