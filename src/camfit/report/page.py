"""The whole page: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camfit.errors import RunError
from camfit.report import record as records
from camfit.report.bars import bytes_section, coders_section
from camfit.report.layer_table import layers_section
from camfit.report.markup import Markup, element, join
from camfit.report.record import Record
from camfit.report.reproduce import reproduce_section
from camfit.report.step_list import accuracy_section, sensitivity_section, steps_section, trials_section
from camfit.report.summary import budget, comparison, found_ones, header, tiles
from camfit.storage import read_json, write_atomically

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser then loads nothing, whatever the record holds


def _row(*parts: Markup | None) -> Markup | None:
    """Sections side by side where the page is wide enough."""
    found = found_ones(parts)
    return element("div", {"class": "row"}, found) if found else None


def _progress(record: Record) -> tuple[Markup | None, ...]:
    """Accuracy by step and trials: side by side, or below each other when the trials have two plots."""
    limits = record.budget
    both = limits is not None and limits.max_size is not None and limits.max_latency is not None
    trials = trials_section(record)
    alone = both or trials is None
    accuracy = accuracy_section(record, alone)
    return (accuracy, trials) if alone else (_row(accuracy, trials),)


def _head(title: str) -> Markup:
    style = (Path(__file__).with_name("style.css")).read_text(encoding="utf-8")
    return element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", None, f"{title} - camfit report"),
        element("style", None, Markup(style)),
    )


def _body(record: Record, title: str) -> Markup:
    parts = (
        header(record, title),
        tiles(record),
        budget(record),
        comparison(record),
        *_progress(record),
        layers_section(record),
        _row(bytes_section(record), coders_section(record)),
        sensitivity_section(record),
        steps_section(record),
        reproduce_section(record),
    )
    note = (
        "Before and after, sizes and times are measured on packed files with the engine; accuracy at each step and "
        "sensitivity on the network in training, with validation data. Anything else carries the mark “estimate”."
    )
    foot = element("footer", None, element("p", None, f"camfit {record.camfit}. {note}"))
    return element("body", None, element("main", None, found_ones(parts)), foot)


def render(record: dict[str, Any], title: str | None = None) -> str:
    """The report of a run as one HTML page.

    Args:
        record: the content of report.json, as in :mod:`camfit.report.record`.
        title: heading of the page; the model and the data set by default.

    Raises:
        RunError: a field of the record is missing or of the wrong type.
    """
    return _page(records.parse(record, "report record"), title)


def _page(record: Record, title: str | None) -> str:
    heading = title if title is not None else f"{record.model.name} on {record.data.name}"
    page = element("html", {"lang": "en"}, _head(heading), "\n", _body(record, heading))
    return join(Markup("<!DOCTYPE html>\n"), page, "\n")


def write(run_directory: Path) -> Path:
    """Reads RUN/report.json, writes RUN/report.html, and returns its path.

    Raises:
        RunError: report.json is missing, damaged or not the record of a run, or the page cannot be written.
    """
    source = Path(run_directory) / "report.json"
    content = read_json(source)
    if not isinstance(content, dict):
        raise RunError(f"{source}: not the record of a run: expected an object, found {type(content).__name__}")
    page = _page(records.parse(content, str(source)), None)
    path = Path(run_directory) / "report.html"
    write_atomically(path, page.encode())
    return path
