"""What came out when the papers' claims were measured again: read by ``camfit methods``, written by ``camfit bench``.

The summary is part of the package; docs/results/claims.md is the whole story.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from camfit.storage import write_json

_PATH = Path(__file__).parent / "measured_claims.json"


class MeasuredClaim(msgspec.Struct, frozen=True):
    """Attributes:
    statement, setting: what was claimed, on what it was measured and what the figures are.
    verdict: ``holds``, ``does not hold`` or ``not reached``.
    seeds: measured.
    date: ISO 8601.
    figures: mean over the seeds, by name.
    """

    statement: str
    setting: str
    verdict: str
    seeds: int
    date: str
    figures: dict[str, float]

    def __str__(self) -> str:
        figures = "; ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        seeds = "1 seed" if self.seeds == 1 else f"mean of {self.seeds} seeds"
        return f"{self.statement} {self.verdict.capitalize()} ({seeds}, {self.date}): {figures}. {self.setting}"


def measured_claims(path: Path = _PATH) -> dict[str, MeasuredClaim]:
    """By catalogue row; rows that were not measured are not there."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, MeasuredClaim]) if path.exists() else {}


def publish(claims: dict[str, MeasuredClaim], path: Path = _PATH) -> None:
    """Puts them into the package in the place of those of the same rows."""
    write_json(path, msgspec.to_builtins({**measured_claims(path), **claims}))
