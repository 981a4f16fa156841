from __future__ import annotations

from pathlib import Path

import tiny
from camfit.bench.tickets import NEW_VALUES, RANDOM_MASK, TICKET, Trained, holds, tickets
from camfit.train import Train


def test_ticket_and_controls_have_the_same_density_and_run_again_alike(tmp_path: Path) -> None:
    lines: list[str] = []
    training = Train(2, 0.05, batch_size=32)
    rows = tickets(tiny.dataset(), training, 0, (1, 2), tmp_path, lines.append)
    assert [row.which for row in rows] == [TICKET, NEW_VALUES, RANDOM_MASK] * 2
    for part, rounds in ((rows[:3], 1), (rows[3:], 2)):
        weights = {300 * 64: 0.8, 300 * 100: 0.8, 300: 0.9}
        expected = sum(size * rate**rounds for size, rate in weights.items()) / sum(weights)
        assert all(abs(row.density - expected) < 1e-4 for row in part)
    assert len({row.accuracy for row in rows}) > 1
    assert tickets(tiny.dataset(), training, 0, (1, 2), tmp_path) == rows


def test_a_claim_counts_only_what_is_sparse_enough() -> None:
    rows = [
        Trained(which, seed, density, accuracy)
        for which, accuracy in ((TICKET, 0.9), (NEW_VALUES, 0.8), (RANDOM_MASK, 0.95))
        for seed in (0, 1)
        for density in (0.5, 0.2, 0.1)
    ]
    assert holds(rows, NEW_VALUES) == (4, 4)
    assert holds(rows, RANDOM_MASK) == (0, 4)
    assert holds(rows, NEW_VALUES, 0.1) == (2, 2)
