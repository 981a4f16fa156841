"""Video files come back as they were written, or there is no file and one error."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from camfit.errors import VideoError
from camfit.video import Reader, Writer, frames
from video import scenes


def listed(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_frames_come_back_in_order_at_their_rate(tmp_path: Path, suffix: str) -> None:
    scene = scenes.frames()
    path = tmp_path / "new" / f"out{suffix}"
    with Writer(path, 12.5) as writer:
        for frame in scene:
            writer.write(frame)
        assert not path.exists()
    assert listed(path.parent) == [path.name]
    with Reader(path) as reader:
        found = list(reader)
        assert (reader.rate, reader.announced, reader.read) == (pytest.approx(12.5), len(scene), len(scene))
    errors = [[np.abs(one.astype(int) - other).mean() for other in scene] for one in found]
    assert np.argmin(errors[scenes.ARRIVES :], axis=1).tolist() == list(range(scenes.ARRIVES, len(scene)))
    assert max(errors[number][number] for number in range(len(scene))) < 4


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), Writer(path, 10, force=True) as writer:
        writer.write(scenes.frames(1)[0])
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    other = pytest.raises(VideoError, match=r"out\.avi: a frame of 8x6; those before are 160x120")
    with other, Writer(path, 10, force=True) as writer:
        writer.write(scenes.frames(1)[0])
        writer.write(np.zeros((6, 8, 3), np.uint8))
    assert path.read_bytes() == b"old"
    assert listed(tmp_path) == ["out.avi"]


def test_frames_that_the_disk_refused_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = frames._count
    monkeypatch.setattr(frames, "_count", lambda path: count(path) - 1)
    missed = pytest.raises(
        VideoError, match=r"out\.avi: cannot be written: of 5 frames 4 can be read back; is the disk"
    )
    with missed, Writer(tmp_path / "out.avi", 10) as writer:
        for frame in scenes.frames(5):
            writer.write(frame)
    assert listed(tmp_path) == []


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_full_disk_is_one_error_and_no_file(tiny_disk: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    full = pytest.raises(VideoError, match="cannot be written: ")
    with full, Writer(tiny_disk / f"out{suffix}", 10) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8))
    assert listed(tiny_disk) == []


def test_names_that_cannot_be_written_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "old.avi").write_bytes(b"old")
    (tmp_path / "folder.avi").mkdir()
    for name, message in (
        ("old.avi", r"old\.avi: is there already; .* --force"),
        ("folder.avi", r"folder\.avi: is a directory"),
        ("out.gif", r"out\.gif: expected a name that ends in \.avi, \.mp4, \.mkv"),
    ):
        with pytest.raises(VideoError, match=message):
            Writer(tmp_path / name, 10)
    below = pytest.raises(VideoError, match="cannot be written: (Not a directory|File exists)")
    with below, Writer(tmp_path / "old.avi" / "out.avi", 10) as writer:
        writer.write(scenes.frames(1)[0])
    assert (tmp_path / "old.avi").read_bytes() == b"old"


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.avi").write_bytes(b"no video" * 99)
    (tmp_path / "empty.avi").write_bytes(b"")
    for name, message in (
        ("none.avi", "no such video"),
        ("text.avi", "cannot be read as a video"),
        ("empty.avi", "cannot be read as a video"),
        ("", "is not a file"),
    ):
        with pytest.raises(VideoError, match=message):
            Reader(tmp_path / name)


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    whole = scenes.save(tmp_path / "whole.avi", scenes.frames(3)).read_bytes()
    # The headers end where the list of frames begins.
    (tmp_path / "headers.avi").write_bytes(whole[: whole.index(b"movi") + 4])
    with pytest.raises(VideoError, match=r"headers\.avi: (no frame can be read|cannot be read as a video)"):
        list(Reader(tmp_path / "headers.avi"))


def test_without_opencv_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for make in (lambda: Reader(tmp_path / "in.avi"), lambda: Writer(tmp_path / "out.avi", 10)):
        with pytest.raises(VideoError, match=r'pip install "camfit\[video\]"'):
            make()
