"""Scales, ticks and labels of the plots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camfit.report.axes import Scale, nice_step, padded, percent_label, shortened
from camfit.report.markup import Markup, element, escape


def test_scale_maps_ends_onto_ends() -> None:
    linear = Scale(2, 4, 100, 0)
    assert [linear(2), linear(3), linear(4)] == [100, 50, 0]
    log = Scale(1, 100, 0, 10, log=True)
    assert [log(1), log(10), log(100)] == pytest.approx([0, 5, 10])


@given(st.floats(1e-6, 1e9), st.floats(1.001, 1e4), st.integers(2, 8), st.booleans())
def test_ticks_are_inside_and_not_more_than_asked(low: float, ratio: float, most: int, log: bool) -> None:
    scale = Scale(low, low * ratio, 0, 1, log)
    ticks = scale.ticks(most)
    assert all(-1e-6 <= scale(tick) <= 1 + 1e-6 for tick in ticks)
    assert len(ticks) <= most + 1 + (0 if not log else 2)
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(("least", "step"), [(1, 1), (1.1, 2), (2.5, 5), (5.1, 10), (0.03, 0.05)])
def test_nice_step_is_one_two_or_five(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)


def test_range_of_one_value_has_a_width() -> None:
    assert padded([0.5], 0.1, 0.2) == pytest.approx((0.4, 0.6))
    assert padded([0, 10], 0.1, 1) == pytest.approx((-1, 11))


def test_percent_labels_are_as_precise_as_the_ticks() -> None:
    assert percent_label(0.01, 0.91) == "91"
    assert percent_label(0.005, 0.915) == "91.5"
    assert percent_label(0.0005, 0.9155) == "91.55"


def test_shortened_text_fits_or_is_left_out() -> None:
    assert shortened("train", 64) == "train"
    assert shortened("a-very-long-method-name", 64) == "a-very-lo…"
    assert shortened("magnitude", 30) == ""


def test_text_is_escaped_in_content_and_attributes() -> None:
    assert element("p", {"title": 'a"b<'}, "x<y&'z'") == '<p title="a&quot;b&lt;">x&lt;y&amp;&#x27;z&#x27;</p>'
    assert element("b", None, Markup("<i></i>"), None, ["1", "<"]) == "<b><i></i>1&lt;</b>"
    assert escape("a\x00\ud800\u202eb\n") == "a\ufffd\ufffd\ufffdb\n"
