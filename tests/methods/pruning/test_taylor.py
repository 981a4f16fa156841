"""PR5: Taylor's criterion and the paper's others by hand, and against the oracle where the loss is linear."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.taylor import Taylor, scores
from camfit.network import Network
from methods.chain import chain, conv, kept


def mean_output(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss whose gradients are plain to see."""
    return outputs.sum() / len(outputs)


def two_maps() -> Network:
    """Maps z = (x, 3x), and C = the sum over pixels of 0.5·z₁ − 0.25·z₂."""
    return chain((1, 1, 2), a=conv([[1.0], [3.0]]), head=conv([[0.5, -0.25]]), flat=nn.Flatten())


def calibration(*images: list[float]) -> Calibration:
    inputs = torch.tensor(images)[:, None, None, :]
    return Calibration(inputs, torch.zeros(len(images), dtype=torch.int64), 0, mean_output)


def of(criterion: str, network: Network, data: Calibration) -> list[float]:
    found = scores(criterion, network, Graph.of(network).groups, data, 256)  # type: ignore[arg-type]
    return [round(value, 6) for value in found["a"].tolist()]


def test_taylor_is_the_size_of_the_mean_product_of_map_and_gradient() -> None:
    # z·∂C/∂z: 0.5·(2, 4) and −0.25·(6, 12); means over the map 1.5 and −2.25.
    assert of("taylor", two_maps(), calibration([2.0, 4.0])) == [1.5, 2.25]


def test_taylor_takes_the_mean_over_the_map_before_its_size_and_over_images_after() -> None:
    # The pixels of the second image cancel: its term is 0, not the mean of sizes.
    assert of("taylor", two_maps(), calibration([2.0, 4.0], [2.0, -2.0])) == [0.75, 1.125]
    assert of("taylor", two_maps(), calibration([2.0, 2.0], [-2.0, -2.0])) == [1.0, 1.5]


def test_taylor_looks_behind_the_activation() -> None:
    network = chain((1, 1, 2), a=conv([[1.0], [-1.0]]), relu=nn.ReLU(), head=conv([[1.0, 1.0]]), flat=nn.Flatten())
    assert of("taylor", network, calibration([2.0, 4.0])) == [3.0, 0.0]
    assert of("apoz", network, calibration([2.0, 4.0], [-1.0, 1.0])) == [0.75, 0.25]


def test_taylor_equals_the_oracle_where_the_loss_is_linear() -> None:
    data = calibration([2.0, 4.0])
    # Removing a map takes away all its pixels: twice the mean.
    assert of("oracle", two_maps(), data) == [2 * value for value in of("taylor", two_maps(), data)]


def test_the_other_criteria_by_hand() -> None:
    data = calibration([2.0, 4.0], [2.0, 2.0])
    assert of("weight", two_maps(), data) == [1.0, 9.0]
    assert of("activation-mean", two_maps(), data) == [2.5, 7.5]
    assert of("activation-std", two_maps(), data) == [0.5, 1.5]
    assert of("random", two_maps(), data) == of("random", two_maps(), data)


def test_information_prefers_the_map_that_tells_the_label() -> None:
    inputs = torch.zeros(64, 2, 1, 1)
    targets = torch.arange(64) % 2
    inputs[:, 1, 0, 0] = targets * 1.0
    inputs[:, 0, 0, 0] = torch.arange(64) // 2 % 2 * 100.0  # loud, and says nothing
    network = chain((2, 1, 1), a=conv([[1.0, 0.0], [0.0, 1.0]]), head=conv([[1.0, 1.0]] * 2), flat=nn.Flatten())
    data = Calibration(inputs, targets)
    assert kept(Taylor(ratio=0.5, criterion="mutual-information").plan(network, data)) == {"a": (1,)}
    assert kept(Taylor(ratio=0.5, criterion="activation-mean").plan(network, data)) == {"a": (0,)}


def test_groups_are_compared_after_division_by_their_norms_unless_told_otherwise() -> None:
    network = chain(
        (1, 1, 1),
        a=conv([[1.0], [2.0], [3.0]]),
        b=conv([[10.0, 10.0, 10.0], [20.0, 20.0, 20.0]]),
        head=conv([[1.0, 1.0]]),
        flat=nn.Flatten(),
    )
    data = Calibration(torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64), 0, mean_output)
    # a: z = (1, 2, 3), gradients 30: 30, 60 and 90. Scaling b's maps, z = (60, 120), changes nothing.
    assert of("taylor", network, data) == [30.0, 60.0, 90.0]
    as_they_stand = Taylor(channels=2, allocation="global", criterion="activation-mean", normalise=False)
    plan = as_they_stand.plan(network, data)
    assert kept(plan) == {"a": (2,)}
    assert plan.reason == "keep 3 of 5 channels by criterion activation-mean"
    # Over their norms a has 0.27, 0.53 and 0.80, b has 0.45 and 0.89.
    divided = Taylor(channels=2, allocation="global", criterion="activation-mean").plan(network, data)
    assert kept(divided) == {"a": (1, 2), "b": (1,)}


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="criterion is 'best', expected one of taylor, weight"):
        Taylor(criterion="best")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="images is 0"):
        Taylor(images=0)
