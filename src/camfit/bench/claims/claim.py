"""A claim of the catalogue: its row, what it states, how one seed is measured and how seeds become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from camfit.errors import CamfitError

Verdict = Literal["holds", "does not hold", "not reached"]
Figures = Mapping[str, float]
Progress = Callable[[str], None]
Measure = Callable[[int, Path, Progress], Figures]


class ClaimError(CamfitError):
    """A row that no claim has, or kept figures that cannot be used."""


@dataclass(frozen=True)
class Claim:
    """One row.

    Attributes:
        row: the catalogue's ID, such as ``NP4``.
        statement: what is claimed, in one sentence.
        setting: network, data, training and what the figures are, for the reader.
        measure: named figures of one seed; the folder is its own, for what a kill should not lose. Where a seed takes
            long, one for each of its parts by name: parts are kept by themselves, and their figures are called
            "part: figure".
        judge: whether the claim holds, from the figures of all seeds; None where they leave it open.
    """

    row: str
    statement: str
    setting: str
    measure: Measure | Mapping[str, Measure]
    judge: Callable[[Sequence[Figures]], bool | None]

    def verdict(self, measured: Sequence[Figures], seeds: int) -> Verdict:
        """``not reached`` until every one of ``seeds`` seeds is measured; a part of them decides nothing."""
        if seeds < 1:
            raise ClaimError(f"{self.row}: found {seeds} seeds, expected at least 1")
        if len(measured) < seeds:
            return "not reached"
        found = self.judge(measured)
        return "not reached" if found is None else "holds" if found else "does not hold"


def chosen(claims: Iterable[Claim], rows: Sequence[str]) -> list[Claim]:
    """The claims of ``rows`` in their order, or all of them where ``rows`` is empty.

    Raises:
        ClaimError: a row that no claim has; the message names those that are known.
    """
    known = {claim.row: claim for claim in claims}
    for row in rows:
        if row not in known:
            raise ClaimError(f"claims: found row {row!r}, expected one of {', '.join(known)}")
    return [known[row] for row in rows] if rows else list(known.values())
