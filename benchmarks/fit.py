"""Deep Compression (PR3, then QZ2 with Huffman coding) re-measured by ``camfit fit``; writes docs/results/fit.md.

    python benchmarks/fit.py [--out runs] [--write]

Every row is one ``camfit fit`` with a size limit. Runs resume, so finished ones cost nothing. The paper's claim is on
MNIST: LeNet-5 39 times and LeNet-300-100 40 times smaller at no loss (Han, Mao, Dally, ICLR 2016, table 1).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import camfit
from camfit.storage import read_json, write_atomically, write_json

RESULTS = Path(__file__).parent.parent / "docs" / "results"

# What the figures do not tell of how they came about; to be kept true when they are made again.
REMARKS = """
All three rows are first runs of one ladder, which was changed on validation data after earlier ladders' test figures
had been seen (LeNet-5 had -0.23 and -0.26 with two of them). One seed each: a test accuracy of 10,000 images is
uncertain by more than the 0.02 points by which LeNet-5 keeps its limit. LeNet-5 had the machine nearly to itself, the
others ran beside a fuzzer.
"""


@dataclass(frozen=True)
class Claim:
    """One row: what to fit and what must come out. ``drop``: points of test accuracy; ``ratio``: to float32 weights."""

    run: str
    model: str
    data: str
    max_size: int
    ratio: float
    drop: float
    original: float | None = None


CLAIMS = (
    Claim("lenet5", "zoo:lenet5", "fashion-mnist", 31_600, 50, 0.2, 0.913),
    Claim("lenet-300-100", "zoo:lenet_300_100", "fashion-mnist", 24_000, 40, 0.2),
    Claim("lenet5-mnist", "zoo:lenet5", "mnist-5k", 36_000, 40, 0.4),
)


def row(claim: Claim, record: dict[str, Any]) -> dict[str, Any]:
    """The figures of one finished run, and whether the claim holds."""
    before, after, weights = record["before"], record["after"], record["float32_bytes"]
    drop = 100 * (before["accuracy"] - after["accuracy"])
    huffman = record["coders"]["huffman"]
    holds = weights / huffman >= claim.ratio and drop <= claim.drop + 1e-9
    if claim.original is not None:
        holds = holds and before["accuracy"] >= claim.original
    return {
        "model": claim.model,
        "data": claim.data,
        "command": record["command"] or f"camfit fit {claim.model} --data {claim.data} --max-size {claim.max_size}",
        "seed": record["seed"],
        "float32_weights": weights,
        "huffman": huffman,
        "range": record["coders"]["range"],
        "bits": record["coders"]["bits"],
        "accuracy_before": before["accuracy"],
        "accuracy_after": after["accuracy"],
        "drop": drop,
        "seconds": record["seconds"],
        "parts": record["bytes"],
        "claim": f">= {claim.ratio:g}x, <= {claim.drop:g} points"
        + (f", original >= {100 * claim.original:.1f} %" if claim.original else ""),
        "holds": holds,
        "versions": record["versions"],
        "machine": record["machine"],
    }


def page(rows: list[dict[str, Any]]) -> str:
    """docs/results/fit.md from the rows."""
    lines = [
        "# Deep Compression, re-measured",
        "",
        "PR3 (magnitude pruning with retraining), then QZ2 (trained weight sharing), on the whole packed file.",
        "*Huffman* is the file with the paper's coder (relative indices of 8 bits for convolutions and 5 for linear",
        "layers, Huffman codes), *range* with camfit's default; both hold the same network. Accuracy is the engine's",
        "own on the test split, which decided nothing.",
        "",
        "| network | data | float32 weights | Huffman | range | accuracy before | after | change | claim (Huffman) | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['model']} | {r['data']} | {r['float32_weights']:,} "
            f"| {r['huffman']:,} ({r['float32_weights'] / r['huffman']:.1f}x) "
            f"| {r['range']:,} ({r['float32_weights'] / r['range']:.1f}x) | {100 * r['accuracy_before']:.2f} % "
            f"| {100 * r['accuracy_after']:.2f} % | {-r['drop']:+.2f} | {r['claim']} "
            f"| {'holds' if r['holds'] else 'does not hold'} |"
        )
    lines += ["", "Where the bytes of the default file went:", ""]
    for r in rows:
        lines.append(
            f"- {r['model']} on {r['data']}: " + ", ".join(f"{name} {size:,}" for name, size in r["parts"].items())
        )
    first = rows[0]
    lines += [
        "",
        "Made by `python benchmarks/fit.py --write`; each row is one command:",
        "",
        *(f"- `{r['command']}` (seed {r['seed']}, {r['seconds'] / 60:.1f} minutes)" for r in rows),
        "",
        f"Versions: {', '.join(f'{name} {version}' for name, version in first['versions'].items())}. "
        f"Machine: {first['machine']['processor']}, 2 cores.",
        "",
    ]
    return "\n".join(lines) + REMARKS


def main() -> None:
    """Runs what is not finished, prints the table, and writes it when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the run directories are")
    parser.add_argument("--only", help="name of one run")
    parser.add_argument("--write", action="store_true", help="write docs/results/fit.md and fit.json")
    arguments = parser.parse_args()
    rows = []
    for claim in CLAIMS:
        if arguments.only not in (None, claim.run):
            continue
        directory = arguments.out / claim.run
        command = (
            f"camfit fit {claim.model} --data {claim.data} --max-size {claim.max_size / 1000:g}kB --out {directory}"
        )
        if not (directory / "report.json").exists():
            budget = camfit.Budget(max_size=claim.max_size)
            camfit.fit(
                claim.model,
                claim.data,
                budget,
                out=directory,
                command=command,
                progress=lambda line: print(line, file=sys.stderr),
            )
        rows.append(row(claim, read_json(directory / "report.json")))
    print(page(rows))
    if arguments.write:
        write_json(RESULTS / "fit.json", rows)
        write_atomically(RESULTS / "fit.md", page(rows).encode())
        print(json.dumps({r["model"] + " " + r["data"]: r["holds"] for r in rows}))


if __name__ == "__main__":
    main()
