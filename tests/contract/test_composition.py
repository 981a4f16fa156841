"""Law 5: every ordered pair of methods composes, or is refused with an error that names both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from camfit.errors import PlanError
from camfit.method import Calibration
from camfit.storage import network_bytes
from camfit.surgery import apply
from contract.subjects import MODELS, PLANNERS, planner, small_network


def pairs() -> Iterator[tuple[str, str, str]]:
    """Every ordered pair of methods on two kinds of network; every method meets every kind."""
    kinds = tuple(MODELS)
    for one, first in enumerate(PLANNERS):
        for other, second in enumerate(PLANNERS):
            for kind in ((one + other) % len(kinds), (one + other + len(kinds) // 2) % len(kinds)):
                yield kinds[kind], first, second


@pytest.mark.parametrize(("kind", "first", "second"), tuple(pairs()))
def test_two_methods_compose_or_the_second_is_refused_by_name(
    kind: str, first: str, second: str, calibration: Calibration
) -> None:
    network = small_network(kind)
    halfway = apply(network, planner(first).plan(network, calibration))
    before = network_bytes(halfway)
    try:
        done = apply(halfway, planner(second).plan(halfway, calibration))
    except PlanError as error:
        assert first in str(error), f"does not name {first}: {error}"
        assert second in str(error), f"does not name {second}: {error}"
    else:
        with torch.no_grad():
            outputs = done(calibration.inputs)
        assert outputs.shape == network(calibration.inputs).shape
        assert bool(outputs.isfinite().all())
    assert network_bytes(halfway) == before


COMPOSE = (
    ("l1-filters", "weight-sharing"),
    ("l1-filters", "xnor-net"),
    ("l1-filters", "hashednets"),
    ("magnitude", "weight-sharing"),
    ("magnitude", "l1-filters"),
    ("weight-sharing", "magnitude"),
    ("xnor-net", "l1-filters"),
    ("xnor-net", "int8"),
    ("l1-filters", "int8"),
    ("magnitude", "int8"),
    ("int8", "magnitude"),
    ("int8", "l1-filters"),
    ("l1-filters", "low-rank"),
    ("low-rank", "l1-filters"),
    ("low-rank", "magnitude"),
    ("low-rank", "weight-sharing"),
    ("low-rank", "hashednets"),
    ("low-rank", "xnor-net"),
    ("low-rank", "int8"),
    ("low-rank", "low-rank"),
    ("magnitude", "optimal-brain-damage"),
    ("optimal-brain-damage", "optimal-brain-surgeon"),
    ("optimal-brain-surgeon", "weight-sharing"),
    ("optimal-brain-surgeon", "int8"),
    ("optimal-brain-surgeon", "l1-filters"),
    ("weight-sharing", "optimal-brain-damage"),
    ("int8", "optimal-brain-damage"),
    ("magnitude", "lottery-ticket"),
    ("lottery-ticket", "weight-sharing"),
)
REFUSED = (
    ("hashednets", "l1-filters"),
    ("hashednets", "weight-sharing"),
    ("hashednets", "xnor-net"),
    ("magnitude", "hashednets"),
    ("magnitude", "xnor-net"),
    ("weight-sharing", "xnor-net"),
    ("xnor-net", "magnitude"),
    ("xnor-net", "xnor-net"),
    ("weight-sharing", "int8"),
    ("hashednets", "int8"),
    ("int8", "weight-sharing"),
    ("int8", "hashednets"),
    ("int8", "xnor-net"),
    ("int8", "int8"),
    ("magnitude", "low-rank"),
    ("weight-sharing", "low-rank"),
    ("hashednets", "low-rank"),
    ("xnor-net", "low-rank"),
    ("int8", "low-rank"),
    ("hashednets", "optimal-brain-damage"),
    ("xnor-net", "optimal-brain-damage"),
    ("hashednets", "optimal-brain-surgeon"),
    ("weight-sharing", "optimal-brain-surgeon"),
    ("int8", "optimal-brain-surgeon"),
    ("optimal-brain-damage", "xnor-net"),
    ("hashednets", "lottery-ticket"),
    ("xnor-net", "lottery-ticket"),
)


@pytest.mark.parametrize(("first", "second"), [*COMPOSE, *REFUSED])
def test_which_pairs_compose_is_known(first: str, second: str, calibration: Calibration) -> None:
    network = small_network("chain")
    halfway = apply(network, planner(first).plan(network, calibration))
    if (first, second) in COMPOSE:
        apply(halfway, planner(second).plan(halfway, calibration))
    else:
        with pytest.raises(PlanError):
            apply(halfway, planner(second).plan(halfway, calibration))
