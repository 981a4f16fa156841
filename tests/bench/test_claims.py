"""The frame of claims: verdicts, resuming, rows, page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from camfit.bench.claims.claim import Claim, ClaimError, Measure, Progress, chosen
from camfit.bench.claims.claims_page import page, summary
from camfit.bench.claims.pieces import piece_path
from camfit.bench.claims.rows import CLAIMS
from camfit.bench.claims.run import measure
from camfit.measured_claims import measured_claims, publish
from camfit.storage import read_json
from camfit.train import quiet


def fake(calls: list[int], row: str = "X1", dies_at: int = -1, setting: str = "Nothing.") -> Claim:
    """Gains 2 plus the seed."""

    def gain(seed: int, folder: Path, progress: Progress) -> dict[str, float]:
        if seed == dies_at:
            raise KeyboardInterrupt
        calls.append(seed)
        return {"gain": 2.0 + seed}

    return Claim(row, "Gain is above one.", setting, gain, lambda all_: min(each["gain"] for each in all_) > 1)


def test_a_verdict_waits_for_every_seed() -> None:
    claim = fake([])
    assert claim.verdict([{"gain": 2.0}], 2) == "not reached"
    assert claim.verdict([{"gain": 2.0}, {"gain": 3.0}], 2) == "holds"
    assert claim.verdict([{"gain": 2.0}, {"gain": 1.0}], 2) == "does not hold"
    open_ = Claim("X1", "", "", fake([]).measure, lambda all_: None)
    assert open_.verdict([{"gain": 2.0}], 1) == "not reached", "figures that leave it open"
    with pytest.raises(ClaimError, match="X1: found 0 seeds"):
        claim.verdict([], 0)


def test_a_killed_run_keeps_finished_seeds(tmp_path: Path) -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        measure((), 2, tmp_path, False, "bench claims", quiet, [fake(calls, dies_at=1)])
    assert not piece_path(tmp_path, "X1", 1).exists()
    report = measure((), 2, tmp_path, False, "bench claims", quiet, [fake(calls)])
    assert report.figures == {"X1": [{"gain": 2.0}, {"gain": 3.0}]}
    assert calls == [0, 1]


def test_a_killed_run_keeps_finished_parts(tmp_path: Path) -> None:
    calls: list[str] = []

    def part(name: str, dies: bool) -> Measure:
        def gain(seed: int, folder: Path, progress: Progress) -> dict[str, float]:
            if dies:
                raise KeyboardInterrupt
            calls.append(f"{name}, {folder.name}")
            return {"gain": 2.0}

        return gain

    for dies in (True, False):
        parts = {"one": part("one", False), "two": part("two", dies)}
        claim = Claim("X1", "Gain is above one.", "Nothing.", parts, lambda all_: True)
        if dies:
            with pytest.raises(KeyboardInterrupt):
                measure((), 1, tmp_path, False, "bench claims", quiet, [claim])
    report = measure((), 1, tmp_path, False, "bench claims", quiet, [claim])
    assert report.figures == {"X1": [{"one: gain": 2.0, "two: gain": 2.0}]}
    assert calls == ["one, one", "two, two"]
    measure((), 1, tmp_path, True, "bench claims", quiet, [claim])
    assert len(calls) == 4, "measured anew when asked to"


def test_figures_of_another_setting_are_measured_anew(tmp_path: Path) -> None:
    calls: list[int] = []
    for setting, again in (("One.", False), ("Two.", False), ("Two.", True), ("Two.", False)):
        measure((), 1, tmp_path, again, "bench claims", quiet, [fake(calls, setting=setting)])
    assert calls == [0, 0, 0]


def test_rows_that_were_not_asked_for_keep_what_is_finished(tmp_path: Path) -> None:
    calls: list[int] = []
    claims = [fake(calls, "X1"), fake(calls, "X2"), fake(calls, "X3")]
    measure(("X1",), 1, tmp_path, False, "bench claims", quiet, claims)
    report = measure(("X2",), 2, tmp_path, False, "bench claims X2", quiet, claims)
    assert {row: len(found) for row, found in report.figures.items()} == {"X1": 1, "X2": 2}
    text = page(report, claims[:2])
    assert "| X1 | Gain is above one. | not reached | 1 |" in text
    assert "| X2 | Gain is above one. | holds | 2 |" in text
    assert "| gain | 2.5 | 2.5 | 2 | 3 |" in text


def test_a_file_that_is_no_piece_is_named(tmp_path: Path) -> None:
    path = piece_path(tmp_path, "X1", 0)
    path.parent.mkdir()
    path.write_text("[]")
    with pytest.raises(ClaimError, match=r"seed-0\.json: found other fields"):
        measure((), 1, tmp_path, False, "bench claims", quiet, [fake([])])


def test_an_unknown_row_names_the_known() -> None:
    claims = [fake([], "X1"), fake([], "X2")]
    assert [claim.row for claim in chosen(claims, ["X2"])] == ["X2"]
    assert chosen(claims, []) == claims
    with pytest.raises(ClaimError, match="found row 'X3', expected one of X1, X2"):
        chosen(claims, ["X3"])


def test_every_claim_has_a_row_of_its_own() -> None:
    rows = [claim.row for claim in CLAIMS]
    assert len(set(rows)) == len(rows)
    assert all(re.fullmatch(r"[A-Z]{2}\d+", row) for row in rows)
    assert all(claim.statement.endswith(".") and claim.setting.endswith(".") for claim in CLAIMS)


def judged(row: str, *figures: dict[str, float]) -> bool:
    return next(claim for claim in CLAIMS if claim.row == row).judge(figures)


def test_the_loss_must_rise_less_everywhere() -> None:
    figures = {
        f"{method}, {share} zeros": rise
        for share in ("50%", "90%")
        for method, rise in (("magnitude", 0.3), ("optimal-brain-damage", 0.2), ("optimal-brain-surgeon", 0.1))
    }
    assert judged("PR1", figures) and judged("PR2", figures)
    assert not judged("PR1", figures, figures | {"optimal-brain-damage, 90% zeros": 0.3})
    assert not judged("PR2", figures | {"optimal-brain-surgeon, 50% zeros": 0.25})


def test_a_ticket_must_beat_both_controls() -> None:
    figures = {
        f"{which}, round {number}": accuracy
        for number in (8, 12)
        for which, accuracy in (("ticket", 90.0), ("same mask, new values", 89.0), ("random mask", 88.0))
    }
    assert judged("PR15", figures)
    assert not judged("PR15", figures, figures | {"random mask, round 12": 90.0})


def test_chance_must_be_beaten_before_and_after_and_time_must_fall() -> None:
    figures = {
        "before fine-tuning": 80.0, "random, before": 70.0, "after fine-tuning": 95.0, "random, after": 94.0, "time": 0.6
    }  # fmt: skip
    assert judged("PR6", figures)
    assert not judged("PR6", figures | {"random, after": 95.0})
    assert not judged("PR6", figures | {"random, before": 80.0})
    assert not judged("PR6", figures, figures | {"time": 1.0})
    # In the mean over the seeds: one seed behind may be made up for by another.
    assert judged("PR6", figures | {"random, after": 95.5}, figures | {"random, after": 93.0})


def test_published_claims_replace_their_rows_alone(tmp_path: Path) -> None:
    claims = [fake([], "X1"), fake([], "X2")]
    first = measure((), 1, tmp_path / "one", False, "bench claims", quiet, claims)
    path = tmp_path / "measured.json"
    publish(summary(first, claims), path)
    second = measure(("X2",), 2, tmp_path / "two", False, "bench claims", quiet, claims[1:])
    publish(summary(second, claims[1:]), path)
    found = measured_claims(path)
    assert {row: (claim.seeds, claim.figures) for row, claim in found.items()} == {
        "X1": (1, {"gain": 2.0}), "X2": (2, {"gain": 2.5}),
    }  # fmt: skip
    assert str(found["X2"]).startswith("Gain is above one. Holds (mean of 2 seeds, ")
    assert measured_claims(tmp_path / "none.json") == {}


def test_the_packages_claims_are_those_of_the_results() -> None:
    """What ``camfit methods`` shows and what docs/results/claims.json holds were measured together."""
    results = Path(__file__).parents[2] / "docs" / "results" / "claims.json"
    held = read_json(results)["figures"] if results.exists() else {}
    for row, claim in measured_claims().items():
        assert row in held, f"{row} is published, but not in {results}"
        for name, value in claim.figures.items():
            assert value == pytest.approx(sum(figures[name] for figures in held[row]) / len(held[row]))


def test_every_scale_must_beat_chance_and_be_faster() -> None:
    figures = {
        f"{scale}, {name}": value
        for scale in ("feature-map", "kernel", "intra-kernel")
        for name, value in (
            ("before fine-tuning", 80.0), ("random, before", 70.0),
            ("after fine-tuning", 95.0), ("random, after", 94.0), ("time", 0.6),
        )
    }  # fmt: skip
    assert judged("PR4", figures)
    assert not judged("PR4", figures | {"kernel, random, after": 95.0})
    assert not judged("PR4", figures, figures | {"intra-kernel, time": 1.0})


def test_blocks_and_branches_must_go_whole_in_every_seed() -> None:
    figures = {
        "before fine-tuning": 80.0, "random, before": 70.0, "after fine-tuning": 95.0, "random, after": 94.0, "time": 0.6,
        "residual net, dropped whole": 2, "fire net, dropped whole": 1,
    }  # fmt: skip
    assert judged("PR12", figures)
    assert not judged("PR12", figures, figures | {"residual net, dropped whole": 0})
    assert not judged("PR12", figures | {"fire net, dropped whole": 0})
    assert not judged("PR12", figures | {"random, before": 80.0})


def test_the_guide_must_be_comparable_and_ahead_of_uniform() -> None:
    figures = {"whole": 96.0, "after fine-tuning": 95.5, "uniform, after": 95.0, "multiply-accumulates": 0.49}
    assert judged("PR14", figures)
    assert not judged("PR14", figures | {"uniform, after": 95.5})
    assert not judged("PR14", figures | {"whole": 97.0})
    assert not judged("PR14", figures, figures | {"multiply-accumulates": 0.51})
