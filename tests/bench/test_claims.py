"""The frame of claims: verdicts, resuming, rows, page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from camfit.bench.claims import learned, second_order, structured, winning_ticket
from camfit.bench.claims.claim import Claim, ClaimError, Progress, chosen
from camfit.bench.claims.claims_page import page
from camfit.bench.claims.pieces import piece_path
from camfit.bench.claims.rows import CLAIMS
from camfit.bench.claims.run import measure
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
    claims = (*second_order.CLAIMS, *structured.CLAIMS, *learned.CLAIMS, *winning_ticket.CLAIMS)
    return next(claim for claim in claims if claim.row == row).judge(figures)


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
