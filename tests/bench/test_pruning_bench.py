"""The side-by-side table: what is measured, what is kept, and what its page and drawing say."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from camfit.bench import bases
from camfit.bench.machine import this_machine
from camfit.bench.pruning import measure
from camfit.bench.pruning.cells import MACS, ZEROS, Cell, cells
from camfit.bench.pruning.fully_connected import Fig4, pays_from
from camfit.bench.pruning.measure import Report, Row
from camfit.bench.pruning.plot import drawing
from camfit.bench.pruning.pruning_page import page, save
from camfit.catalog import methods
from camfit.data import Dataset, load
from camfit.errors import CamfitError
from camfit.train import Train
from camfit.zoo import lenet_300_100


def test_every_pruning_method_has_three_rows() -> None:
    found: dict[str, set[float]] = {}
    for cell in cells("lenet-5"):
        if cell.row:
            found.setdefault(cell.row, set()).add(cell.level)
    rows = {entry.row for entry in methods().values() if entry.family == "pruning"}
    assert found.keys() == rows - {"PR15"}
    assert all(levels in (set(MACS), set(ZEROS)) for levels in found.values())
    folders = [cell.folder for cell in cells("lenet-5")]
    assert len(set(folders)) == len(folders)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeNet-300-100 on digits, and three rows."""
    monkeypatch.setattr(bases, "_RECIPES", {"lenet-300-100": bases._Recipe(lenet_300_100.build, Train(2))})

    def digits(spec: str, *, seed: int) -> Dataset:
        return load("digits", seed=seed)

    def few(network: str) -> list[Cell]:
        return [
            Cell(network, "dense", "dense", "", 0.0),
            Cell(network, "structured", "random", "", 0.5, "taylor", {"criterion": "random", "macs": 0.5}),
            Cell(network, "structured", "l1-filters", "PR6", 0.9999, "l1-filters", {"macs": 0.9999}),
            Cell(network, "unstructured", "magnitude", "PR3", 0.9, "magnitude", {"sparsity": 0.9}),
        ]

    monkeypatch.setattr(bases, "load", digits)
    monkeypatch.setattr(measure, "cells", few)


def _run(runs: Path, said: list[str], finished: bool = False) -> Report:
    return measure.run(["lenet-300-100"], 0, runs, "camfit bench pruning", said.append, finished)


@pytest.mark.usefixtures("small")
def test_rows_are_measured_on_packed_files_and_kept(tmp_path: Path) -> None:
    assert _run(tmp_path, [], finished=True).rows == []
    report = _run(tmp_path, [])
    dense, chance, refused, magnitude = report.rows
    assert dense.macs == dense.density == 1
    assert chance.macs == pytest.approx(0.5, abs=0.02)
    assert magnitude.density == pytest.approx(0.1, abs=0.001)
    assert magnitude.macs == 1
    assert dense.work == 1 and chance.work == pytest.approx(chance.macs)
    assert magnitude.work == pytest.approx(0.1, abs=0.001), "each weight of a linear layer is one product"
    assert magnitude.bytes < chance.bytes < dense.bytes
    assert (tmp_path / "pruning/seed-0/lenet-300-100/unstructured/magnitude-90/network.camfit").stat().st_size == (
        magnitude.bytes
    )
    assert "macs is 0.9999" in refused.refused
    assert dense.milliseconds > 0
    said: list[str] = []
    again = _run(tmp_path, said)
    assert not [line for line in said if "planned" in line or "epoch" in line]
    for row, kept in zip(report.rows, again.rows, strict=True):
        assert msgspec.structs.replace(kept, milliseconds=row.milliseconds, time=row.time) == row


def test_unknown_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CamfitError, match="'vgg': expected one of lenet-300-100"):
        measure.run(["vgg"], 0, tmp_path, "", lambda line: None, False)


def _row(kind: str, name: str, level: float, before: float, after: float, **others: Any) -> Row:
    return Row("lenet-5", kind, name, "PR6", level, before, after, 1000, 0.5, 0.5, 60.0, 30.0, **others)


ROWS = [
    _row("dense", "dense", 0.0, 0.9, 0.91),
    _row("structured", "random", 0.5, 0.5, 0.80),
    _row("structured", "l1-filters", 0.5, 0.6, 0.85),
    _row("structured", "taylor", 0.5, 0.6, 0.79),
    _row("structured", "thinet", 0.5, 0.9, 0.91, work=0.99),
    _row("structured", "nisp", 0.5, 0.0, 0.0, refused="nisp: no channels can be cut"),
]
REPORT = Report(
    "camfit bench pruning", "2026-01-01", 0, this_machine(), {"lenet-5": Train(1)}, {"lenet-5": 60}, 0, ROWS
)


def test_page_counts_who_is_ahead_of_chance_at_the_work_asked_for_and_names_refusals(tmp_path: Path) -> None:
    text = page(REPORT, [])
    assert "50 %: 1 of 2 ahead of random, l1-filters leads (85.00 %)" in text
    assert "nisp: no channels can be cut" in text
    assert "| l1-filters | PR6 | 50 % | 60.00 % | 85.00 % | 1,000 |" in text
    assert "| 1.5 |" in text  # minutes
    save(REPORT, [], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pruning.json", "pruning.md", "pruning-lenet-5.svg"}


def test_drawing_has_a_mark_for_each_figure_and_words_for_what_has_none() -> None:
    tree = ElementTree.fromstring(drawing("lenet-5", ROWS))
    marks = [each for each in tree.iter() if each.tag.endswith("circle")]
    assert len(marks) == 2 * 4  # before and after, of four rows in panels
    words = [each.text for each in tree.iter() if each.tag.endswith("text")]
    assert words.count("refused") == 1


def test_pruning_pays_below_the_highest_density_that_and_all_lower_ones_are_clearly_faster() -> None:
    def layer(density: float, time: float) -> Fig4:
        return Fig4("", "swept", 4, 4, density, 1.0, time, 1.0, 1, 1, 1)

    layers = [layer(0.05, 0.1), layer(0.1, 0.3), layer(0.2, 0.94), layer(0.3, 0.96), layer(0.4, 0.5)]
    assert pays_from(layers, lambda row: row.pruned) == 0.2
    assert pays_from(layers, lambda row: row.shared) is None
