"""The laws' fixtures: every planner of the catalogue on a small network of every kind."""

from __future__ import annotations

import pytest
import torch

from camfit.method import Calibration
from camfit.network import Network
from contract.subjects import CLASSES, MODELS, PLANNERS, SHAPE, small_network


@pytest.fixture(params=PLANNERS)
def method(request: pytest.FixtureRequest) -> str:
    """Name of a planner."""
    name: str = request.param
    return name


@pytest.fixture(params=MODELS)
def network(request: pytest.FixtureRequest) -> Network:
    """A small network of each kind."""
    return small_network(request.param)


@pytest.fixture
def calibration() -> Calibration:
    """A few random images of SHAPE with labels."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(16, *SHAPE, generator=generator)
    return Calibration(images, torch.randint(0, CLASSES, (16,), generator=generator), seed=11)
