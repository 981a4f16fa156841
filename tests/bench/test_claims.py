"""The frame of claims: verdicts, resuming, rows, page."""

from pathlib import Path

import pytest

from camfit.bench.claims.claim import Claim, ClaimError, chosen
from camfit.bench.claims.claims_page import section
from camfit.bench.claims.pieces import piece, piece_path


def fake(calls: list[int], row: str = "X1", dies_at: int = -1) -> Claim:
    def measure(seed: int) -> dict[str, float]:
        if seed == dies_at:
            raise KeyboardInterrupt
        calls.append(seed)
        return {"gain": float(seed)}

    return Claim(row, "Gain is above one.", measure, lambda all_: min(each["gain"] for each in all_) > 1)


def test_verdict_waits_for_every_seed() -> None:
    claim = fake([])
    assert claim.verdict([{"gain": 2.0}], 2) == "not reached"
    assert claim.verdict([{"gain": 2.0}, {"gain": 3.0}], 2) == "holds"
    assert claim.verdict([{"gain": 2.0}, {"gain": 1.0}], 2) == "does not hold"
    with pytest.raises(ClaimError, match="X1: found 0 seeds"):
        claim.verdict([], 0)


def test_killed_run_keeps_finished_pieces(tmp_path: Path) -> None:
    calls: list[int] = []
    piece(fake(calls), 0, tmp_path, "v1")
    with pytest.raises(KeyboardInterrupt):
        piece(fake(calls, dies_at=1), 1, tmp_path, "v1")
    assert not piece_path(tmp_path, "X1", 1).exists()
    assert [piece(fake(calls), seed, tmp_path, "v1") for seed in (0, 1)] == [{"gain": 0.0}, {"gain": 1.0}]
    assert calls == [0, 1]


def test_stale_and_unwanted_pieces_are_measured_anew(tmp_path: Path) -> None:
    calls: list[int] = []
    piece(fake(calls), 5, tmp_path, "v1")
    piece(fake(calls), 5, tmp_path, "v2")
    piece(fake(calls), 5, tmp_path, "v2", again=True)
    piece(fake(calls), 5, tmp_path, "v2")
    assert calls == [5, 5, 5]


def test_file_that_is_no_piece_is_named(tmp_path: Path) -> None:
    path = piece_path(tmp_path, "X1", 0)
    path.parent.mkdir()
    path.write_text("[]")
    with pytest.raises(ClaimError, match=r"seed-0\.json: found other fields"):
        piece(fake([]), 0, tmp_path, "v1")


def test_unknown_row_names_the_known() -> None:
    claims = [fake([], "X1"), fake([], "X2")]
    assert [claim.row for claim in chosen(claims, ["X2"])] == ["X2"]
    assert chosen(claims, []) == claims
    with pytest.raises(ClaimError, match="found row 'X3', expected one of X1, X2"):
        chosen(claims, ["X3"])


def test_section_states_verdict_mean_deviation_and_n() -> None:
    lines = list(section(fake([]), [{"gain": 2.0}, {"gain": 4.0}], 2))
    assert lines[0] == "## X1: holds"
    assert lines[-1] == "| gain | 3 | 1.414 | 2 |"
    assert list(section(fake([]), [], 2))[-1] == "0 of 2 seeds measured."
