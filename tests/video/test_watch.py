"""The whole camera, by the command line: a line a frame, a summary, a video as long as the one that went in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camfit
import tiny
from camfit.data import Normalisation
from camfit.errors import VideoError
from camfit.video import Box, watch
from video import scenes

Camfit = Callable[..., tiny.Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Camfit:
    return lambda *words: tiny.command(monkeypatch, capsys, "run", *words)


class Means(nn.Module):
    """Scores are the means of the channels, so that a blue picture is of the last class."""

    def __init__(self, channels: int, softmax: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)
        nn.init.eye_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)
        self.last = nn.Softmax(1) if softmax else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.fc(x.mean((2, 3))))
        return found


def network(folder: Path, channels: int = 3, softmax: bool = False, **info: Any) -> Path:
    traced = camfit.trace(Means(channels, softmax), (channels, 8, 4))
    normalisation = Normalisation((0.1,) * channels, (0.0,) * channels)
    described = {"classes": ["red", "green", "blue"][:channels], **info}
    return Path(camfit.pack(traced, normalisation, info=described).save(folder / "net.camfit"))


@pytest.fixture
def street(tmp_path: Path) -> Path:
    return scenes.save(tmp_path / "street.avi", scenes.frames())


def parsed(found: tiny.Outcome) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of the frames, and the summary."""
    assert found.status == 0, found.err
    values = [json.loads(line) for line in found.out.splitlines()]
    return values[:-1], values[-1]["summary"]


def test_a_video_is_named_frame_by_frame(street: Path, run: Camfit, tmp_path: Path) -> None:
    out = tmp_path / "out.avi"
    found = run(network(tmp_path), "--video", street, "--out", out)
    lines, summary = parsed(found)
    assert [line["frame"] for line in lines] == list(range(scenes.FRAMES))
    for line in lines:
        place = scenes.place(line["frame"])
        if place is None:
            assert line["objects"] == []
        elif line["frame"] > scenes.ARRIVES:
            (seen,) = line["objects"]
            assert scenes.overlap(Box(*seen["box"]), place) > 0.6  # JPEG smears the edges
            assert (seen["class"], seen["label"]) == (2, "blue")
            powers = np.exp(np.array(seen["scores"]) - max(seen["scores"]))
            assert seen["probability"] == pytest.approx(powers[2] / powers.sum(), abs=1e-4)
    assert (summary["frames"], summary["video_frames_per_second"], summary["out"]) == (scenes.FRAMES, 10, str(out))
    assert summary["objects"] == sum(len(line["objects"]) for line in lines)
    cpu, share = summary["cpu_ms_per_frame"], summary["share_of_core"]
    assert set(cpu) == {"read", "detect", "engine", "write"}
    assert min(cpu.values()) > 0
    # Milliseconds of work in the 100 that one frame lasts.
    assert share["engine"] == pytest.approx(cpu["engine"] / 100, abs=2e-6)
    assert share["detect_and_engine"] == pytest.approx((cpu["detect"] + cpu["engine"]) / 100, abs=2e-6)
    assert share["all"] == pytest.approx(sum(cpu.values()) / 100, abs=3e-6)
    assert found.err.startswith(f"{scenes.FRAMES} frames with {summary['objects']} objects, ")
    assert found.err.count("\n") == 1


def test_the_video_that_is_written_has_the_boxes(street: Path, run: Camfit, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    lines, _ = parsed(run(network(tmp_path), "--video", street, "--out", out))
    before, after = scenes.load(street), scenes.load(out)
    assert len(after) == len(before) == scenes.FRAMES
    for line in lines:
        number = line["frame"]
        change = np.abs(after[number].astype(int) - before[number]).max(2) > 60
        if not line["objects"]:
            assert not change.any(), number
        else:
            x, y, width, height = line["objects"][0]["box"]
            middle = y + height // 2
            assert change[middle, max(x - 1, 0) : x + 3].any() and change[middle, x + width - 3 : x + width + 1].any()
            assert not change[middle, x + 8 : x + width - 8].any()


def test_without_out_only_lines_are_written(street: Path, run: Camfit, tmp_path: Path) -> None:
    file = network(tmp_path)
    before = sorted(tmp_path.iterdir())
    lines, summary = parsed(run(file, "--video", street))
    assert len(lines) == scenes.FRAMES
    assert (summary["out"], summary["cpu_ms_per_frame"]["write"]) == (None, 0)
    assert sorted(tmp_path.iterdir()) == before


def test_grey_and_float_networks_get_their_pixels(street: Path, run: Camfit, tmp_path: Path) -> None:
    grey, _ = parsed(run(network(tmp_path, 1, pixels="float32"), "--video", street))
    (seen,) = grey[-1]["objects"]
    assert len(seen["scores"]) == 1
    # The rectangle by Rec. 601, in 0..1, times the network's 0.1; the box may hold a little of the street.
    assert seen["scores"][0] == pytest.approx(0.1 * (0.299 * 10 + 0.587 * 20 + 0.114 * 230) / 255, rel=0.2)


def test_a_network_that_ends_in_a_soft_max_gives_probabilities_itself(
    street: Path, run: Camfit, tmp_path: Path
) -> None:
    lines, _ = parsed(run(network(tmp_path, softmax=True), "--video", street))
    (seen,) = lines[-1]["objects"]
    assert sum(seen["scores"]) == pytest.approx(1, abs=1e-4)
    assert seen["probability"] == max(seen["scores"])


def test_a_long_video_tells_how_far_it_is(street: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules["camfit.video.watch"], "_EVERY", -1.0)
    told: list[str] = []
    watch(camfit.Engine(network(tmp_path)), street, progress=told.append)
    assert len(told) == scenes.FRAMES
    assert told[6].startswith(f"frame 7 of {scenes.FRAMES}, ")


def test_a_video_that_breaks_off_is_told(street: Path, run: Camfit, tmp_path: Path) -> None:
    data = street.read_bytes()
    street.write_bytes(data[: len(data) // 2])
    found = run(network(tmp_path), "--video", street, "--out", tmp_path / "out.avi")
    lines, _ = parsed(found)
    assert 0 < len(lines) < scenes.FRAMES
    assert found.err.startswith(f"{street}: announces {scenes.FRAMES} frames; {len(lines)} could be read\n")
    assert len(scenes.load(tmp_path / "out.avi")) == len(lines)


def test_mistakes_are_one_line_and_leave_no_file(street: Path, run: Camfit, tmp_path: Path) -> None:
    file = network(tmp_path)
    (tmp_path / "text.avi").write_bytes(b"no video" * 99)
    (tmp_path / "old.avi").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    for words, message in (
        (["--video", tmp_path / "none.avi"], "none.avi: no such video"),
        (["--video", tmp_path / "text.avi"], "text.avi: cannot be read as a video"),
        (["--video", street, "--out", tmp_path / "old.avi"], "old.avi: is there already"),
        (["--video", street, "--out", street, "--force"], "street.avi: is the video that is read"),
        (["--video", street, "--out", tmp_path / "out.gif"], "out.gif: expected a name that ends in"),
        (["a.png", "--video", street], "a.png: images together with --video"),
        (["a.png", "--out", tmp_path / "out.avi"], "--out and --force belong to --video"),
        ([], "nothing to classify: expected IMAGES, or --video FILE"),
    ):
        found = run(file, *words)
        assert (found.status, found.out, found.err.count("\n")) == (2, "", 1), found
        assert found.err.startswith("error: ") and message in found.err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "old.avi").read_bytes() == b"old"


def test_force_overwrites(street: Path, run: Camfit, tmp_path: Path) -> None:
    out = tmp_path / "old.avi"
    out.write_bytes(b"old")
    parsed(run(network(tmp_path), "--video", street, "--out", out, "--force"))
    assert len(scenes.load(out)) == scenes.FRAMES


def test_networks_that_name_no_images_are_refused(street: Path, tmp_path: Path) -> None:
    two = camfit.Engine(network(tmp_path, 2))
    with pytest.raises(VideoError, match=r"takes 2 channels; expected 1 \(grey\) or 3 \(colour\)"):
        watch(two, street)
    torch.manual_seed(0)
    traced = camfit.trace(nn.Sequential(nn.Conv2d(3, 2, 3)), (3, 8, 8))
    packed = camfit.pack(traced, Normalisation((1.0,) * 3, (0.0,) * 3)).save(tmp_path / "map.camfit")
    with pytest.raises(VideoError, match=r"outputs of shape \[6, 6, 2\]; expected scores of classes"):
        watch(camfit.Engine(packed), street)


def test_without_opencv_the_error_names_the_extra(run: Camfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    found = run(network(tmp_path), "--video", tmp_path / "street.avi")
    assert found.status == 2
    assert 'pip install "camfit[video]"' in found.err and found.err.count("\n") == 1
