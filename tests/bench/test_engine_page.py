"""The page from its figures: every row, what was refused, where camfit stands, what was not there."""

from __future__ import annotations

import msgspec
import pytest

from camfit.bench.engine_page import render
from camfit.bench.figures import Figure, PeerFound, Ratio, Refused, Report, Row
from camfit.bench.machine import Machine
from camfit.bench.resources import Code, Resources, Use

MACHINE = Machine("some processor", 2, ("avx2",), "Linux x86_64", {"python": "3.11"})


def figure(name: str, ratio: float, error: float = 1e-6) -> Figure:
    return Figure(name, 10 * ratio, 12 * ratio, 100, Ratio(ratio, ratio - 0.1, ratio + 0.1), error, 1234, 20.0, 0.01)


def row(key: str, *figures: Figure, threads: int = 1, refused: tuple[Refused, ...] = ()) -> Row:
    return Row(key, f"title of {key}", threads, 0.01, "ONNX Runtime", figures, refused)


def report(*rows: Row, peers: tuple[PeerFound, ...] = (), resources: Resources | None = None) -> Report:
    return Report(
        "2026-01-02", "camfit bench engine --seconds 1", 0, 1.0, 20, 1e-4, MACHINE, "avx2", "cc 12", 0.1, rows, peers,
        resources,
    )  # fmt: skip


BASE = figure("ONNX Runtime", 1.0)
PEERS = (PeerFound("OpenVINO", "openvino 1.0"), PeerFound("LiteRT", missing="no converter"))


def test_a_row_has_its_times_ratios_and_bytes() -> None:
    page = render(report(row("resnet20", figure("camfit", 0.5), BASE)))
    assert "| title of resnet20 | camfit | 5.00 | 6.00 | 0.50 | 0.40–0.60 | 1,234 |" in page
    assert "|  | ONNX Runtime | 10.0 | 12.0 | 1 |  | 1,234 |" in page
    assert "Command: `camfit bench engine --seconds 1`. Seed of weights and images: 0." in page
    assert "One image at a time, float32." in page
    assert "the machine was quiet" in page


def test_peers_bring_errors_reasons_and_who_was_absent() -> None:
    wrong = Refused("MNN", "wrong: off by 0.3 of the largest output")
    page = render(report(row("resnet20", figure("camfit", 0.5), BASE, refused=(wrong,)), peers=PEERS))
    assert "| title of resnet20 | camfit | 5.00 | 6.00 | 0.50 | 0.40–0.60 | 1,234 | 1e-06 |" in page
    assert "|  | MNN | wrong: off by 0.3 of the largest output |  |  |  |  |  |" in page
    assert "- Peers: OpenVINO (openvino 1.0)." in page
    assert "- Peers that were not there: LiteRT (no converter)." in page


@pytest.mark.parametrize(
    ("own", "peer", "expected"),
    [
        (
            0.40,
            0.60,
            "0.50 (camfit, float32) | 1.00 (ONNX Runtime) | 0.40 (camfit, int8) | 0.60 (x int8) | yes | 0.45 |",
        ),
        (0.46, 0.45, "0.46 (camfit, int8) | 0.45 (x int8) | **no** | 0.45, **missed** |"),
    ],
)
def test_the_best_form_stands_beside_the_best_peer(own: float, peer: float, expected: str) -> None:
    figures = (figure("camfit, float32", 0.5), figure("camfit, int8", own, 0.02), BASE, figure("x int8", peer, 0.03))
    page = render(report(row("resnet20", *figures), peers=PEERS))
    assert expected in page
    assert "the largest difference was 1e-06 of the largest output in float32" in page  # int8's is not an error


def test_a_run_beside_others_warns() -> None:
    busy = msgspec.structs.replace(row("call", figure("camfit", 0.5), BASE), others=0.4)
    assert "**the machine was not quiet: do not quote these figures**" in render(report(busy))


def test_resources_are_part_of_the_page() -> None:
    use = Use("LeNet-5", 1_000_000, 4.5, 3.5, 9.0, 2_000_000, 110_000, 2_200_000, 100_000, 3_000_000, None)
    found = Resources((use,), (Code("libcamfit, stripped", 600_000),), ("libncnn was not measured: no strip",))
    page = render(report(row("lenet5", figure("camfit", 0.5), BASE), resources=found))
    assert "| LeNet-5 | 1,000,000 | 4.50 | 3.50 | 9.00 | 2,000,000 | 110,000 | 100,000 | 1.100 | 3,000,000 |  |" in page
    assert "| libcamfit, stripped | 600,000 |" in page
    assert "libncnn was not measured: no strip." in page
