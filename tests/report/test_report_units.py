"""Figures as text, by hand-computed cases."""

from __future__ import annotations

import pytest

from camfit.report import units


def plain(text: str) -> str:
    """With ordinary spaces."""
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.21, "0.210"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1725, "1,725"),
        (-0.000455, "−0.000455"),
    ],
)
def test_significant_has_three_digits(value: float, shown: str) -> None:
    assert units.significant(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB (1,000 bytes)"),
        (29120, "29.1 kB (29,120 bytes)"),
        (999_499, "999 kB (999,499 bytes)"),
        (999_500, "1.00 MB (999,500 bytes)"),
        (1_725_000, "1.73 MB (1,725,000 bytes)"),
        (None, "–"),
    ],
)
def test_exact_size(value: float | None, shown: str) -> None:
    assert plain(units.exact_size(value)) == shown


def test_points_have_a_sign_and_never_a_negative_zero() -> None:
    assert plain(units.points(0.9155, 0.9143)) == "−0.12 points"
    assert plain(units.points(0.9, 0.901)) == "+0.10 points"
    assert plain(units.points(0.9, 0.89999)) == "±0.00 points"
    assert units.points(None, 0.9) == "–"


def test_percent_and_seconds() -> None:
    assert plain(units.percent(0.9155)) == "91.55 %"
    assert [plain(units.seconds(value)) for value in (1.2, 59.94, 512.3, 7500)] == [
        "1.20 s",
        "59.9 s",
        "8 min 32 s",
        "2 h 05 min",
    ]


def test_change_is_a_ratio_of_two_measured_figures() -> None:
    assert units.change(1_725_000, 29_120, "smaller", "larger") == "59.2× smaller"
    assert units.change(2, 3, "smaller", "larger") == "1.50× larger"
    assert units.change(1000, 1001, "smaller", "larger") == "unchanged"
    assert units.change(1001, 1000, "smaller", "larger") == "unchanged"
    assert units.change(None, 3, "smaller", "larger") == units.change(0, 3, "smaller", "larger") == ""


def test_amount_shows_a_third_decimal_only_where_it_says_something() -> None:
    assert plain(units.amount(0.12000000000000455, "points")) == "0.12 points"
    assert plain(units.amount(0.302, "points")) == "0.302 points"
    assert plain(units.amount(2.5, "ms")) == "2.50 ms"
    assert plain(units.amount(30000, "bytes")) == "30.0 kB (30,000 bytes)"
