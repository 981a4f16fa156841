from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camfit.methods.pruning.fista import Fista, soft_threshold


def test_the_soft_threshold_shrinks_and_cuts() -> None:
    values = torch.tensor([3.0, -3.0, 0.5, -0.5, 1.0])
    assert soft_threshold(values, 1.0).tolist() == [2.0, -2.0, 0.0, 0.0, 0.0]
    assert soft_threshold(values, torch.tensor([0.0, 1.0, 0.25, 0.0, 2.0])).tolist() == [3.0, -2.0, 0.25, -0.5, 0.0]


def square(x: Tensor) -> float:
    """½·(x − 2)², of curvature 1."""
    return float((x - 2).square().sum() / 2)


def test_steps_are_those_worked_by_hand() -> None:
    """f = ½(x − 2)², λ = 0.5, η = 0.5, from 0: gradients −2, −1.25, and momentum from the second step on."""
    fista = Fista(torch.zeros(1), 0.5)
    fista.advance(square(fista.point), fista.point - 2, square, 0.5)
    # soft(0 + 0.5·2, 0.25) = 0.75; t₂ = (1 + √5)/2, and (t₁ − 1)/t₂ = 0: no momentum yet.
    assert fista.values.tolist() == [0.75] and fista.point.tolist() == [0.75]
    assert fista.t == pytest.approx(1.6180340)
    fista.advance(square(fista.point), fista.point - 2, square, 0.5)
    # soft(0.75 + 0.5·1.25, 0.25) = 1.125; t₃ = 2.1935269; y = 1.125 + 0.6180340/2.1935269·0.375
    assert fista.values.tolist() == [1.125]
    assert fista.t == pytest.approx(2.1935269)
    assert fista.point.tolist() == [pytest.approx(1.125 + 0.6180340 / 2.1935269 * 0.375)]


def test_ts_follow_their_recursion_until_momentum_leads_uphill() -> None:
    fista = Fista(torch.zeros(1), 0.1)
    for t in (1.6180340, 2.1935269, 2.7497910, 3.2948832):
        fista.advance(square(fista.point), fista.point - 2, square, 0.0)
        assert fista.t == pytest.approx(t, rel=1e-5)
    while fista.t > 1:
        fista.advance(square(fista.point), fista.point - 2, square, 0.0)
    # The gradient turns round at the minimum, and not before.
    assert float(fista.values) > 2 and torch.equal(fista.point, fista.values)


def test_it_comes_to_the_minimum_of_a_lasso_faster_than_plain_steps() -> None:
    """½·Σ d_i (x_i − a_i)² + λ‖x‖₁ has its minimum at soft(a, λ/d)."""
    d, a = torch.tensor([1.0, 0.01, 0.3, 1.0]).double(), torch.tensor([3.0, 20.0, -4.0, 0.1]).double()
    exact = soft_threshold(a, 0.15 / d)

    def smooth(x: Tensor) -> float:
        return float((d * (x - a).square()).sum() / 2)

    def after(steps: int, momentum: bool) -> float:
        fista = Fista(torch.zeros(4).double(), 1.0)
        for _ in range(steps):
            fista.advance(smooth(fista.point), d * (fista.point - a), smooth, 0.15)
            if not momentum:
                fista.restart(fista.values)
        return float((fista.values - exact).abs().max())

    assert float(exact[3]) == 0.0
    assert after(2000, True) < 1e-3
    assert after(100, True) < 0.5 * after(100, False)


def test_a_step_that_is_too_long_is_halved_until_the_bound_holds() -> None:
    """Curvature 8: a step of 1 would run away, 1/8 is the longest that the bound allows."""
    steep = Fista(torch.zeros(1), 1.0)

    def smooth(x: Tensor) -> float:
        return float(4 * (x - 2).square().sum())

    steep.advance(smooth(steep.point), 8 * (steep.point - 2), smooth, 0.0)
    assert steep.values.tolist() == [2.0]  # 0 + 16/8
