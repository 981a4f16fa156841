"""The page of measured claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, median

import msgspec

from camfit.bench.claims.claim import Claim, Figures
from camfit.bench.machine import Machine
from camfit.bench.page import table
from camfit.measured_claims import MeasuredClaim


class Report(msgspec.Struct, frozen=True):
    """What one run measured: by row, the figures of each seed, and where."""

    command: str
    date: str
    seeds: int
    machine: Machine
    figures: dict[str, list[dict[str, float]]]


def page(report: Report, claims: Sequence[Claim]) -> str:
    """docs/results/claims.md."""
    lines = [
        "# Claims of the methods, measured again",
        "",
        "Made by `camfit bench claims` from `claims.json`; do not edit. A verdict rests on all seeds; a claim that",
        "does not hold is told as such. Test data decides nothing but the verdict. Where a method is compared",
        "with random channels or a uniform cut, the means over the seeds are; the medians stand beside them.",
        "",
        *table(
            ("row", "claim", "verdict", "seeds"),
            (
                (
                    claim.row,
                    claim.statement,
                    claim.verdict(report.figures[claim.row], report.seeds),
                    str(len(report.figures[claim.row])),
                )
                for claim in claims
            ),
            left=3,
        ),
        "",
    ]
    for claim in claims:
        lines += [*section(claim, report.figures[claim.row], report.seeds), ""]
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    lines += [
        f"Command: `{report.command}`, seeds 0 to {report.seeds - 1}. {report.date}. {machine.processor}, "
        f"{machine.cores} cores. Versions: {versions}.",
        "",
    ]
    return "\n".join(lines)


def summary(report: Report, claims: Sequence[Claim]) -> dict[str, MeasuredClaim]:
    """By row, what ``camfit methods`` shows of it; rows without a finished seed are left out."""
    found: dict[str, MeasuredClaim] = {}
    for claim in claims:
        if measured := report.figures[claim.row]:
            means = {name: mean(figures[name] for figures in measured) for name in measured[0]}
            verdict = claim.verdict(measured, report.seeds)
            found[claim.row] = MeasuredClaim(claim.statement, claim.setting, verdict, len(measured), report.date, means)
    return found


def section(claim: Claim, measured: Sequence[Figures], seeds: int) -> Iterator[str]:
    """Markdown lines of one claim: verdict, then each figure's median, mean and range over the seeds."""
    yield f"## {claim.row}: {claim.verdict(measured, seeds)}"
    yield ""
    yield claim.statement
    yield ""
    yield f"{claim.setting} {len(measured)} of {seeds} seeds measured."
    if not measured:
        return
    yield ""
    rows = []
    for name in measured[0]:
        values = [figures[name] for figures in measured]
        rows.append((name, *(f"{value:.4g}" for value in (median(values), mean(values), min(values), max(values)))))
    yield from table(("figure", "median", "mean", "least", "most"), rows, left=1)
