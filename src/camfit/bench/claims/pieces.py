"""Finished pieces, (claim, seed) or (claim, seed, part), one JSON file each: a kill loses only the piece under way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camfit.bench.claims.claim import Claim, ClaimError, Figures, Measure, Progress
from camfit.storage import read_json, write_json


def piece_path(runs: Path, row: str, seed: int) -> Path:
    """Where the piece is kept."""
    return runs / row / f"seed-{seed}.json"


def piece(claim: Claim, seed: int, runs: Path, key: str, progress: Progress, again: bool = False) -> Figures:
    """The figures of one seed: kept ones, or measured now and kept.

    Args:
        key: what the figures depend on; a piece kept under another key is measured anew.
        again: measure anew whatever is kept.

    Raises:
        ClaimError: the kept file is no piece.
    """
    path = piece_path(runs, claim.row, seed)
    if not isinstance(claim.measure, Mapping):
        return _measured(claim.measure, path, seed, key, progress, again)
    if not again and (kept := kept_piece(path, key)) is not None:
        return kept
    figures: dict[str, float] = {}
    for part, measure in claim.measure.items():
        progress(f"{claim.row}, seed {seed}: {part}")
        found = _measured(measure, path.with_suffix("") / f"{part}.json", seed, key, progress, again)
        figures |= {f"{part}: {name}": value for name, value in found.items()}
    write_json(path, {"figures": figures, "key": key})
    return figures


def _measured(measure: Measure, path: Path, seed: int, key: str, progress: Progress, again: bool) -> Figures:
    """The figures kept at ``path``, or measured now and kept there."""
    if not again and (kept := kept_piece(path, key)) is not None:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    found = measure(seed, path.with_suffix(""), progress)
    write_json(path, {"figures": dict(found), "key": key})
    return found


def kept_piece(path: Path, key: str) -> Figures | None:
    """The figures kept at ``path`` under ``key``, or None."""
    if not path.exists():
        return None
    kept = read_json(path)
    if not isinstance(kept, dict) or set(kept) != {"figures", "key"}:
        raise ClaimError(f"{path}: found other fields, expected figures and key; delete it or measure again")
    figures: Figures = kept["figures"]
    return figures if kept["key"] == key else None
