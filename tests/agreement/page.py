"""docs/results/agree.md and agree.json."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agreement.cases import VARIANTS
from agreement.check import NEAR_ZERO, TOLERANCE
from agreement.tally import Tally
from camfit.bench.machine import this_machine


def write(tally: Tally, folder: Path) -> None:
    """Writes both files; the folder must exist."""
    machine = this_machine()
    date = datetime.now(UTC).date().isoformat()
    record = {"date": date, "machine": machine, "tally": tally, "tolerance": TOLERANCE}
    (folder / "agree.json").write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    (folder / "agree.md").write_text(_page(tally, machine.processor, machine.versions, date))


def _page(tally: Tally, processor: str, versions: dict[str, str], date: str) -> str:
    structures = tally.compared.get("structures", 0)
    lines = [
        "# Torch and the engine on random networks",
        "",
        f"{tally.cases:,} cases, {len(tally.failed)} beyond the tolerance, {len(tally.undecided)} undecided. "
        f"`make agree RUNS={tally.cases}`, {date}, {processor}, "
        + ", ".join(f"{name} {number}" for name, number in versions.items() if name in ("python", "torch", "numpy"))
        + ".",
        "",
        f"A case is a network with its forms, two images and a coder, made from a seed (tests/agreement). {VARIANTS} seeds "
        f"in a row share layers and shapes and draw all else anew: there were {structures:,} structures. Each case runs "
        "with every instruction set in both modes on one thread, each eighth on two as well, which must give one thread's "
        "bits.",
        "",
        f"`float` and `binary` agree within {TOLERANCE:g} of the largest output: sums of float32 in other orders, over some "
        "twenty layers. `integer` and `fixed` agree to the bit with exact integers (tests/integer_graph.py), `fixed` with "
        "torch's training graph too; float layers behind them agree as `float` does. *Undecided*: a binary layer takes the sign of a "
        f"value within {NEAR_ZERO:g} of zero, which rounding may turn, and the outputs differ.",
        "",
        "| largest difference | of the largest output |",
        "|---|---|",
        *(f"| {kind} | {value:.2g} |" for kind, value in sorted(tally.worst.items())),
        "",
        "| compared | times |",
        "|---|---|",
        *(f"| {label} | {count:,} |" for label, count in sorted(tally.compared.items())),
        "",
    ]
    if tally.failed:
        lines += ["| failed seed | how |", "|---|---|"]
        lines += [f"| {seed} | {problems[0]} |" for seed, problems in sorted(tally.failed.items())] + [""]
    return "\n".join(lines)
