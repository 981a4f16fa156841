"""Measures claims, seed by seed; finished seeds are read back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from camfit.bench.claims.claim import Claim, Figures, Progress, chosen
from camfit.bench.claims.claims_page import Report
from camfit.bench.claims.pieces import kept_piece, piece, piece_path
from camfit.bench.claims.rows import CLAIMS
from camfit.bench.machine import this_machine


def measure(
    rows: Sequence[str],
    seeds: int,
    runs: Path,
    again: bool,
    command: str,
    progress: Progress,
    claims: Sequence[Claim] = CLAIMS,
) -> Report:
    """Measures the claims of ``rows`` (all where it is empty); of others it reports what is finished already.

    Args:
        seeds: seeds 0 to seeds − 1 of each claim.
        runs: folder of the finished pieces.
        again: measure anew what is finished.

    Raises:
        ClaimError: a row that no claim has, or a damaged piece.
    """
    wanted = {claim.row for claim in chosen(claims, rows)}
    machine = this_machine()
    figures: dict[str, list[dict[str, float]]] = {}
    for claim in claims:
        # The statement and setting say what is measured: figures of another setting do not count.
        key = f"camfit {machine.versions['camfit']}: {claim.statement} {claim.setting}"
        found: list[Figures] = []
        for seed in range(seeds):
            if claim.row in wanted:
                progress(f"{claim.row}, seed {seed}")
                found.append(piece(claim, seed, runs, key, progress, again))
            elif (kept := kept_piece(piece_path(runs, claim.row, seed), key)) is not None:
                found.append(kept)
        if claim.row in wanted or found:
            figures[claim.row] = [dict(of_seed) for of_seed in found]
            progress(f"{claim.row}: {claim.verdict(found, seeds)}")
    return Report(command, datetime.now(UTC).date().isoformat(), seeds, machine, figures)
