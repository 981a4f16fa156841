"""The page as a whole: one valid, small, self-contained file that shows the record's figures and nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from camfit.errors import RunError
from camfit.pack import CODERS
from camfit.report import render, write
from camfit.report.bars import CODER_NAMES
from report.samples import HOSTILE, SAMPLES, failed, hostile, lenet, minimal, mobilenet

VOID = {"br", "hr", "meta", "wbr"}
LOADERS = {"script", "img", "link", "iframe", "object", "embed", "source", "image", "use", "base", "form"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order, and no attribute comes twice."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def sections(self) -> set[str | None]:
        """Identifiers of the sections."""
        return {attributes.get("id") for tag, attributes in self.seen if tag == "section"}


@pytest.fixture(params=sorted(SAMPLES))
def page(request: pytest.FixtureRequest) -> str:
    """Each sample as a page."""
    return render(SAMPLES[request.param]())


def test_elements_are_balanced_and_identifiers_unique(page: str) -> None:
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    identifiers = [attributes["id"] for _, attributes in Page(page).seen if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attributes in Page(page).seen:
        assert tag not in LOADERS
        assert not {"src", "href", "srcset", "action", "data", "xlink:href"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def test_pictures_and_tables_are_described(page: str) -> None:
    seen = Page(page).seen
    assert all(attributes.get("aria-label") for tag, attributes in seen if tag == "svg")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in seen if tag == "th")
    assert [tag for tag, _ in seen].count("caption") == [tag for tag, _ in seen].count("table")


def test_coordinates_are_finite(page: str) -> None:
    for tag, attributes in Page(page).seen:
        if tag in ("line", "rect", "circle", "text", "polyline", "polygon"):
            assert not re.search(
                "nan|inf", " ".join(value or "" for key, value in attributes.items() if key != "class")
            )


def test_output_depends_on_the_record_alone() -> None:
    assert render(lenet()) == render(json.loads(json.dumps(lenet())))
    assert render(lenet()) != render(lenet(), title="Another")


def test_title_is_model_and_data_unless_given() -> None:
    assert "<h1>zoo:lenet5 on fashion-mnist</h1>" in render(lenet())
    assert "<h1>A &amp; B</h1>" in render(lenet(), title="A & B")


@pytest.mark.parametrize(
    "figure",
    [
        "Budget met",
        "91.43 %",
        "91.55 %",
        "−0.12 points",
        "29.1 kB (29,120 bytes)",
        "1.73 MB (1,725,000 bytes)",
        "59.2× smaller",
        "0.118 ms",
        "0.210 ms",
        "1.78× faster",
        "0.141 ms",
        "214 kB",
        "8.88× less",
        "880 bytes (2.93 %) to spare; measured on the file",
        "0.18 points (60.0 %) to spare; measured on validation",
        "2,293,000",
        "411,000",
        "28,910",
        "1.72 MB (1,724,320 bytes)",
        "400,000 → 24,000",
        "dense → codebook, 16 entries",
        "1.60 MB → 22.9 kB",
        "14,400 49.5 %",
        "40.3 kB (40,310 bytes)",
        "Huffman (paper) 33.2 kB (33,154 bytes)",
        "52.0× smaller than the float32 weights",
        "validation accuracy 88.22 % (−3.50 points) · 61.2 kB",
        "the second round prunes what the first one taught",
        "between 3 and 4 chosen 6.6 % 29,120 0.118 ms 91.56 % within",
        "max-size 30.0 kB",
        "max-drop: at least 91.38",
        "88.71 % at 1 % kept",
        "64, 32, 16 and 16 shared values",
        "camfit fit zoo:lenet5 --data fashion-mnist --max-size 30kB --max-drop 0.3 --seed 0 --out runs/lenet5",
        "9f3a61c0d2b8",
        "torch 2.13.0",
        "isa avx2",
        "Validation accuracy 91.68 % 91.56 % −0.12 points",
        "ankle boot",
        "took 8 min 32 s",
    ],
)
def test_lenet_figures_are_shown(figure: str) -> None:
    text = Page(render(lenet())).text.replace("\u00a0", " ")
    plain = " ".join(figure.split("·")) if "·" in figure else figure
    assert " ".join(plain.split()) in text


def test_every_coder_of_the_packer_has_a_name() -> None:
    assert tuple(CODER_NAMES) == CODERS


def test_all_layers_are_listed_with_added_and_removed_ones() -> None:
    record = mobilenet()
    page = Page(render(record))
    assert all(layer["name"] in page.text for layer in record["layers"])
    assert len(record["layers"]) == 30
    assert "features.1.dropout affine removed" in page.text
    assert "11.5 M → 3.97 M" in page.text.replace("\u00a0", " ")


def test_missed_limits_are_named_with_their_excess_and_estimates_marked() -> None:
    text = Page(render(failed())).text.replace("\u00a0", " ")
    assert "Budget not met" in text
    assert "max-size : 29.1 kB of 20.0 kB allowed, 9.12 kB (45.6 %) over" in text
    assert "max-drop : 0.302 of 0.30 points allowed, 0.002 points (0.667 %) over estimate" in text
    assert "rung 4 estimate" in text
    assert ' class="chip estimate"' not in render(lenet())


def test_a_gain_is_not_shown_as_a_negative_drop() -> None:
    text = Page(render(mobilenet())).text.replace("\u00a0", " ")
    assert "max-drop : a gain of 0.11 points, a drop of 1.00 points allowed" in text


def test_missing_sections_are_absent() -> None:
    assert Page(render(minimal())).sections() == {"figures", "reproduce"}
    everything = {
        "budget",
        "figures",
        "accuracy",
        "trials",
        "layers",
        "bytes",
        "coders",
        "sensitivity",
        "steps",
        "reproduce",
    }
    assert Page(render(lenet())).sections() == everything
    parts = {"verdict": "budget", "trials": "trials", "layers": "layers", "bytes": "bytes", "coders": "coders"}
    for key, section in {**parts, "sensitivity": "sensitivity"}.items():
        record = lenet()
        del record[key]
        assert Page(render(record)).sections() == everything - {section}


def test_each_optional_field_can_be_missing_or_null() -> None:
    def thinned(value: Any, drop: str) -> Any:
        if isinstance(value, dict):
            return {key: thinned(item, drop) for key, item in value.items() if key != drop}
        return [thinned(item, drop) for item in value] if isinstance(value, list) else value

    inner = "ms macs bytes weights entries validation seconds ms_median ms_p95 accuracy params threads peak_bytes basis"
    for name in [*inner.split(), "delivered", "history", "notes", "why", "classes", "density"]:
        Page(render(thinned(lenet(), name)))
        Page(render(thinned(failed(), name)))
    for name in lenet().keys() - {"camfit", "model", "data", "before", "after"}:
        Page(render({key: value for key, value in lenet().items() if key != name}))


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_degenerate_plots_are_drawn(steps: int) -> None:
    record = lenet()
    record["steps"] = [{"name": "x", "validation": 1.0}] * steps
    record["trials"] = [{"name": "only", "bytes": 5, "validation": 1.0, "chosen": True}]
    record["sensitivity"] = {"layer": [[1.0, 0.0]]}
    record["budget"] = {"max_size": 0, "max_latency": 0.0, "max_drop": 0.0}
    record["verdict"] = [{"limit": "max-size", "unit": "bytes", "budget": 0, "delivered": 0, "met": True}]
    Page(render(record))


def test_a_steps_sensitivity_curves_are_drawn_with_what_its_groups_keep() -> None:
    record = lenet()
    curves = {"conv1": [[0.0, 0.31], [0.5, 0.52], [0.95, 2.1]], "conv2": [[0.0, 0.31], [0.5, None], [0.9, 0.4]]}
    record["steps"] = [{"name": "l1-filters", "notes": {"conv1": {"channels": 20, "kept": 14}}, "curves": curves}]
    page = render(record)
    text = Page(page).text
    assert "Sensitivity" in text
    assert "keeps 14" in text
    assert "stays whole" in text
    assert page.count("% removed: ") == 5  # a point each, but where the loss was not finite


def test_hostile_text_stays_text() -> None:
    page = render(hostile())
    assert "<script>" not in page
    assert "<img" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff\u202a-\u202e]", page)
    page.encode()
    shown = HOSTILE.replace("\u202e", "\ufffd").replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert Page(page).text.count(shown) > 40


def test_page_of_a_large_run_is_below_two_megabytes() -> None:
    record = lenet()
    layer = record["layers"][0]
    names = [f"features.block{number}.with.a.long.name.conv" for number in range(400)]
    record["layers"] = [layer | {"name": name} for name in names]
    record["sensitivity"] = dict.fromkeys(names, record["sensitivity"]["conv1"])
    notes = {name: {"weights": 500, "kept": 330, "threshold": 0.0123} for name in names}
    record["steps"] = [step | {"notes": notes} for step in record["steps"]] * 6
    record["trials"] = record["trials"] * 50
    page = render(record)
    assert len(page.encode()) < 2_000_000
    assert "340 more are in report.json" in page
    assert max(len(render(sample()).encode()) for sample in SAMPLES.values()) < 200_000


# -- errors and files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("model"), "`model`"),
        (lambda record: record["before"].update(bytes="many"), r"\$\.before\.bytes"),
        (lambda record: record["layers"][2].update(after=[]), r"\$\.layers\[2\]\.after"),
        (lambda record: record.update(steps={}), r"\$\.steps"),
    ],
)
def test_a_wrong_record_is_refused_by_field(change: Any, message: str) -> None:
    record = lenet()
    change(record)
    with pytest.raises(RunError, match=message):
        render(record)


def test_write_reads_the_run_and_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(lenet()))
    path = write(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_bytes().decode() == render(lenet())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"camfit": 1}'])
def test_write_names_a_missing_or_damaged_record_and_keeps_the_old_page(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "report.html").write_text("old")
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(RunError, match=re.escape(str(tmp_path / "report.json"))):
        write(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
