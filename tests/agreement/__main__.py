"""``python -m agreement --count 100000 --seed 0 [--state FILE] [--write docs/results]``, from the folder ``tests``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from agreement.page import write
from agreement.tally import Tally, subject

# Seeds between two savings.
RANGE = 800


def main() -> int:
    """0 where all agree."""
    parser = argparse.ArgumentParser(prog="agreement", description="Torch against the engine on random networks.")
    parser.add_argument("--count", type=int, default=1000, help="how many seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument(
        "--state", type=Path, help="file of what is done: a run of the same engine that was killed goes on from there"
    )
    parser.add_argument("--write", type=Path, help="folder for agree.md and agree.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tally = Tally.load(options.state) if options.state else Tally(subject())
    end = options.seed + options.count
    begin = max([options.seed, *(last for first, last in tally.seeds if options.seed <= first < end)])
    started, before = time.monotonic(), begin
    while begin < end:
        last = min(begin + RANGE, end)
        known = len(tally.failed)
        tally.extend(begin, last)
        for seed, problems in list(tally.failed.items())[known:]:
            print(f"--seed {seed} --count 1: {'; '.join(problems[:3])}", flush=True)
        begin = last
        if options.state:
            tally.save(options.state)
        pace = (time.monotonic() - started) / (begin - before)
        print(
            f"{tally.cases} cases, {len(tally.failed)} failed; {1000 * pace:.1f} ms each, "
            f"{pace * (end - begin) / 60:.1f} minutes to go",
            flush=True,
        )
    if options.write:
        write(tally, options.write)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
