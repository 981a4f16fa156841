"""docs/results/photographs.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from camfit.bench.page import percent, table
from camfit.bench.photographs import Row

GOAL = 0.95


def page(report: Row) -> str:
    """The page of :func:`camfit.bench.photographs.measure`'s figures."""
    rows = report["rows"]
    best = max(row["agree"] / row["photographs"] for row in rows)
    lines = [
        "# MobileNet v2 on photographs",
        "",
        "MobileNet v2 with public ImageNet weights, its batch-norm folded, no training.",
        f"Over {rows[0]['photographs']} photographs that scikit-image and Debian's opencv-doc ship, one a scene.",
        f"Int8 for half of them was calibrated on {report['calibration_images']} crops of the other half, and the",
        "other way round. *Top-1* is how often int8 and float name the same class in the middle crop; *crops* the same",
        "for five crops of each; *signal to noise* is of all logits. Both run in the engine.",
        "",
        f"Float: the engine's logits differ from torch's by at most {report['float_difference']:.1e} of the largest",
        f"({'within' if report['float_difference'] <= 1e-4 else 'not within'} 1e-4).",
        "",
        *_table("int8", rows),
        "",
        f"Goal: {percent(GOAL)} per channel; the best row has {percent(best)}. Rows that were not chosen on other data",
        "are alternatives, not a choice: the default is the claim.",
        "",
        "## Other quantizers",
        "",
        "The same network, crops and figures, weights of 8 bits a channel; each runs in its own runtime.",
        *(["This processor has no sums of bytes that do not saturate: theirs may."] if report["saturates"] else []),
        "",
        *(_table("quantizer", report["peers"]) if report["peers"] else []),
        *(f"\n{row['name']} ({_options(row)}): {row['reason']}." for row in report["missing"]),
        "",
        f"Made by `{report['command']}` (seed {report['seed']}). Versions: "
        + ", ".join(dict.fromkeys([*_versions(report)]))
        + ".",
        "",
    ]
    return "\n".join(lines)


def _table(head: str, rows: Sequence[Row]) -> Iterator[str]:
    return table(
        (head, "options", "top-1 as float", "by half", "crops", "signal to noise"),
        (
            (
                row["name"],
                _options(row),
                f"{percent(row['agree'] / row['photographs'])} ({row['agree']} of {row['photographs']})",
                ", ".join(f"{agree} of {number}" for agree, number in row["by_fold"]),
                f"{percent(row['crops_agree'] / row['crops'])} of {row['crops']}",
                f"{row['decibels']:.1f} dB",
            )
            for row in rows
        ),
    )


def _options(row: Row) -> str:
    return ", ".join(f"`{name} = {value!r}`" for name, value in row["options"].items())


def _versions(report: Row) -> Iterator[str]:
    """Of every package that had a part, some more than once."""
    for name, version in report["versions"].items():
        yield f"{name} {version}"
    for row in report["peers"]:
        yield from row["version"].split(", ")
