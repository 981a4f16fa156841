"""Ranges by each rule on values whose answer is known, and the steps that bytes take in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from camfit.methods.precision.calibration import (
    BINS,
    SAMPLE,
    Histogram,
    Rule,
    Steps,
    clipped,
    divergence,
    steps,
)


def seen(*parts: Tensor) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.see(part)
    return histogram


# -- steps -----------------------------------------------------------------------------------------------------


def test_affine_steps_cover_the_range_and_hold_zero() -> None:
    assert steps(0.0, 255.0, "affine") == Steps(1.0, 0)
    assert steps(-255.0, 0.0, "affine") == Steps(1.0, 255)
    assert steps(-64.0, 191.0, "affine") == Steps(1.0, 64)
    assert steps(10.0, 510.0, "affine") == Steps(2.0, 0), "a range beside zero is extended to it"
    assert steps(-0.4, 0.875, "affine") == Steps(float(np.float32(1.275 / 255)), 80)


def test_symmetric_steps_have_zero_in_the_middle_or_at_the_end() -> None:
    assert steps(-127.0, 50.0, "symmetric") == Steps(1.0, 128)
    assert steps(-1.0, 254.0, "symmetric") == Steps(2.0, 128)
    assert steps(0.0, 510.0, "symmetric") == Steps(2.0, 0)


def test_a_value_that_is_always_zero_has_steps_too() -> None:
    for scheme in ("affine", "symmetric"):
        assert steps(0.0, 0.0, scheme) == Steps(1.0, 0)  # type: ignore[arg-type]


# -- histograms ------------------------------------------------------------------------------------------------


def test_a_histogram_counts_each_value_in_its_bin_and_zeros_apart() -> None:
    """Reach 4, so bins of 8/8192: −3.9996 is in the first, 3.9996 in the last."""
    histogram = seen(torch.tensor([-3.9996, 0.0, 0.0, 3.9996, 1.0]))
    assert (histogram.reach, histogram.zeros, histogram.low, histogram.high) == (
        4.0, 2, pytest.approx(-3.9996), pytest.approx(3.9996)
    )  # fmt: skip
    assert {int(at): histogram.counts[at] for at in np.flatnonzero(histogram.counts)} == {
        0: 1, BINS - 1: 1, BINS // 2 + 1024: 1
    }  # fmt: skip


def test_a_reach_that_grows_keeps_every_count() -> None:
    """Batches of rising size, one histogram of all, and one merged from parts: the same counts."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(500, generator=generator) * scale for scale in (0.01, 3.0, 0.5, 700.0)]
    streamed, whole, merged = seen(*parts), seen(torch.cat(parts)), seen(parts[3])
    for part in (seen(parts[2], parts[0]), seen(parts[1])):
        merged.merge(part)
    for other in (streamed, merged):
        assert (other.low, other.high, other.reach) == (whole.low, whole.high, whole.reach)
        # A value at a border may fall on either side of it.
        assert np.abs(np.cumsum(other.counts - whole.counts)).max() <= 2
    assert whole.counts.sum() == 2000


def test_a_large_batch_is_sampled_but_its_ends_are_exact() -> None:
    values = torch.zeros(10 * SAMPLE + 3)
    values[1::2] = 1.0
    values[7], values[-2] = -5.0, 9.0
    histogram = seen(values)
    assert (histogram.low, histogram.high) == (-5.0, 9.0)
    total = histogram.counts.sum() + histogram.zeros
    assert SAMPLE / 2 <= total <= SAMPLE + 1
    assert histogram.zeros / total == pytest.approx(0.5, abs=0.01), "an odd step sees even and odd places"


def test_what_is_not_finite_or_was_never_seen_is_known() -> None:
    assert not Histogram().finite
    assert not seen(torch.tensor([1.0, torch.nan])).finite
    assert not seen(torch.tensor([1.0]), torch.tensor([torch.inf]), torch.tensor([1.0])).finite
    assert seen(torch.zeros(3)).finite


# -- rules -----------------------------------------------------------------------------------------------------


def test_min_max_takes_the_ends() -> None:
    assert clipped(seen(torch.tensor([-1.25, 0.0, 7.5])), "min-max", "affine", 99) == (-1.25, 7.5)


def test_the_percentile_leaves_so_many_outside_at_each_end() -> None:
    """−500 .. 499, 99 %: ten values at each end are outside. Bins are 1024/8192 wide."""
    low, high = clipped(seen(torch.arange(-500.0, 500.0)), "percentile", "affine", 99)
    assert low == pytest.approx(-490, abs=0.13) and high == pytest.approx(489.1, abs=0.13)


def test_the_percentile_counts_zeros() -> None:
    """Of 1000 values 900 are zero: 99 % of all leaves ten of the hundred others outside, not one."""
    values = torch.cat([torch.zeros(900), torch.arange(1.0, 101.0)])
    low, high = clipped(seen(values), "percentile", "affine", 99)
    assert low == 0 and high == pytest.approx(90.1, abs=0.13)


def test_the_squared_error_clips_a_lonely_outlier_and_no_crowd() -> None:
    """Over 0..high, n values spread over 0..1 cost n·(high/255)²/12, and one at 16 costs (16 − high)².

    With n = 100,000: at 16 the first is 32.8. The sum's least is at high = 16/(1 + n/(12·255²)) = 14.2: 29.1.
    With a thousand values at 16 nothing may be cut.
    """
    spread = torch.linspace(0, 1, 100_000)
    low, high = clipped(seen(spread, torch.tensor([16.0])), "mse", "affine", 99)
    assert low == 0 and high == pytest.approx(14.2, abs=0.25)
    assert clipped(seen(spread, torch.full((1000,), 16.0)), "mse", "affine", 99)[1] == 16.0


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("seed", range(4))
def test_the_squared_error_is_below_that_of_the_whole_range_where_tails_are_long(scheme: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(20_000, generator=generator) ** 3 + seed

    def error(low: float, high: float) -> float:
        found = steps(low, high, scheme)  # type: ignore[arg-type]
        q = (torch.floor(values / found.scale + 0.5) + found.zero).clamp(0, 255)
        return float((values - found.scale * (q - found.zero)).square().mean())

    low, high = clipped(seen(values), "mse", scheme, 99)  # type: ignore[arg-type]
    assert error(low, high) < error(float(values.min()), float(values.max()))


def test_divergence_of_eight_bins_in_two_levels() -> None:
    """Migacz's example: 1 0 2 3 | 5 3 1 7 in two levels is 2 0 2 2 | 4 4 4 4; both sum to 22."""
    p, q = np.array([1, 2, 3, 5, 3, 1, 7]) / 22, np.array([2, 2, 2, 4, 4, 4, 4]) / 22
    expected = float((p * np.log(p / q)).sum())
    assert divergence(np.array([1.0, 0, 2, 3, 5, 3, 1, 7]), 8, 2) == pytest.approx(expected)


def test_divergence_adds_what_is_clipped_to_the_last_bin_of_p_alone() -> None:
    """4 4 2 | 6 beyond, in three levels: P = 4 4 8, Q = 4 4 2."""
    p, q = np.array([4, 4, 8]) / 16, np.array([4, 4, 2]) / 10
    assert divergence(np.array([4.0, 4, 2, 6]), 3, 3) == pytest.approx(float((p * np.log(p / q)).sum()))
    assert divergence(np.array([0.0, 0, 5]), 2, 2) == math.inf


def test_entropy_clips_a_far_tail_and_leaves_an_even_spread_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    even = torch.rand(100_000, generator=generator)
    assert clipped(seen(even), "entropy", "affine", 99)[1] == float(even.max())
    # A Gaussian with a few values far out: the range ends somewhere in the Gaussian's tail.
    low, high = clipped(seen(torch.randn(100_000, generator=generator), torch.tensor([60.0])), "entropy", "affine", 99)
    assert 2.5 < high < 12 and -12 < low < -2.5


@pytest.mark.parametrize("rule", ["min-max", "percentile", "mse", "entropy"])
def test_every_rule_stays_inside_the_ends_and_takes_constants(rule: Rule) -> None:
    for values in (torch.zeros(5), torch.full((5,), 3.0), torch.full((5,), -3.0), torch.tensor([1e-3])):
        low, high = clipped(seen(values), rule, "affine", 99.9)
        assert float(values.min()) <= low <= high <= float(values.max())
