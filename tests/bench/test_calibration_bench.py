from __future__ import annotations

import msgspec
import pytest

from camfit.bench import calibration


def test_the_fastest_round_counts_and_the_page_says_whether_the_goal_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_SIDE", 32)
    report = calibration.measure(images=2, threads=1, rounds=1, command="camfit bench calibration")
    assert [timing.name for timing in report.timings] == ["forward pass", "int8, mse", "int8, min-max"]
    assert all(len(timing.seconds) == len(timing.processor_seconds) == 1 for timing in report.timings)
    forward, default, _ = report.timings
    for seconds, met in (([9.0, 3.9, 5.0], "met"), ([4.5, 4.1, 9.0], "not met")):
        timings = [msgspec.structs.replace(forward, seconds=[2.0, 3.0, 4.0]),
                   msgspec.structs.replace(default, seconds=seconds)]  # fmt: skip
        page = calibration.page(msgspec.structs.replace(report, timings=timings))
        assert f"| int8, mse | {min(seconds):.2f} | {min(seconds) / 2:.2f} | " in page
        assert f"Goal: below 4 s with the default; {met}." in page
