"""Where camfit stands in each row: its best form beside the best peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from camfit.bench.figures import Figure, Row
from camfit.bench.page import table

# What is aimed at with one thread, as ratios to ONNX Runtime float32.
GOALS = {
    "lenet300": 0.40,
    "lenet5": 0.40,
    "resnet20": 0.45,
    "vgg-small": 0.35,
    "mobilenet": 0.60,
    "shufflenet": 0.60,
    "mobilenet-v2": 0.55,
    "squeezenet": 0.45,
    "mobilenet-v1": 0.48,
    "alexnet": 0.25,
    "resnet18": 0.38,
    "fc-sparse-4096": 1 / 12,
    "fc-blocks-4096": 1 / 22,
    "fc-sparse-25088": 1 / 8,
    "fc-blocks-25088": 1 / 15,
    "fc-hashed-4096": 3.0,
    "resnet20-sparse": 0.35,
    "vgg-small-sparse": 0.40,
    "binary": 1 / 7,
    "vgg-small-xnor": 1 / 4,
}


def lines(rows: Sequence[Row], threads: int) -> Iterator[str]:
    """A table of ratios: float32 beside float32, then the best of each side; goals with one thread only."""
    head = ["network", "camfit float32", "best float32 peer", "camfit, best", "best peer", "ahead"]
    yield from table([*head, "goal"] if threads == 1 else head, _cells(rows, threads), left=1)


def _cells(rows: Sequence[Row], threads: int) -> Iterator[list[str]]:
    for row in rows:
        own = [figure for figure in row.figures if _is_own(figure)]
        peers = [figure for figure in row.figures if not _is_own(figure) and not figure.name.startswith("plain")]
        if not row.baseline or not own or not peers:
            continue
        best, other = min(own, key=_ratio), min(peers, key=_ratio)
        cells = [
            row.title,
            _best([figure for figure in own if "int8" not in figure.name]),
            _best([figure for figure in peers if "int8" not in figure.name]),
            _best(own),
            _best(peers),
            "yes" if _ratio(best) < _ratio(other) else "**no**",
        ]
        if threads == 1:
            goal = GOALS.get(row.key)
            cells.append("" if goal is None else f"{goal:.2f}{'' if _ratio(best) <= goal else ', **missed**'}")
        yield cells


def _is_own(figure: Figure) -> bool:
    return figure.name.startswith("camfit")


def _ratio(figure: Figure) -> float:
    assert figure.ratio is not None  # the row has a baseline
    return figure.ratio.median


def _best(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    best = min(figures, key=_ratio)
    return f"{_ratio(best):.2f} ({best.name})"
