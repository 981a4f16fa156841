"""Video files as frames and back, by OpenCV's FFmpeg."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from camfit.errors import VideoError
from camfit.storage import TEMPORARY
from camfit.video.opencv import opencv

# MPEG-4, which every build of FFmpeg writes without further libraries.
CODECS = {".avi": "XVID", ".mp4": "mp4v", ".mkv": "mp4v"}


class Reader:
    """A video file; iterate for its frames, uint8 BGR [H, W, 3].

    Attributes:
        rate: frames a second by the file; None where it does not say.
        announced: frames by the file, which may be an estimate; None where it does not say.
        read: frames handed out so far.

    Raises:
        VideoError: no such file, not a video, OpenCV missing; while iterating: no frame at all, frames of two sizes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        cv2 = opencv()
        if not self.path.is_file():
            raise VideoError(f"{self.path}: " + ("is not a file" if self.path.exists() else "no such video"))
        # One thread, so that the time spent on decoding can be told from the rest.
        self._capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._capture.isOpened():
            raise VideoError(f"{self.path}: cannot be read as a video")
        rate, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = float(rate) if math.isfinite(rate) and 0 < rate <= 1000 else None
        self.announced = int(count) if math.isfinite(count) and 0 < count < 2**31 else None
        self.read = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        shape: tuple[int, ...] | None = None
        while True:
            good, frame = self._capture.read()
            if not good:
                break
            if frame.shape != (shape or frame.shape):
                raise VideoError(f"{self.path}: frame {self.read} is {_size(frame.shape)}, those before {_size(shape)}")
            shape = frame.shape
            self.read += 1
            yield frame
        if not self.read:
            raise VideoError(f"{self.path}: no frame can be read")

    def close(self) -> None:
        """Lets go of the file."""
        self._capture.release()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Writer:
    """A video that takes its name when it is whole: use as a context manager, which a failure leaves without a file.

    Args:
        path: .avi, .mp4 or .mkv; MPEG-4 in each.
        rate: frames a second.
        force: replace a file that is there.

    Raises:
        VideoError: another suffix, a file in the way, a folder that cannot be written, OpenCV missing; on leaving:
            fewer frames can be read back than were written, as on a full disk. What was there before stays.
    """

    def __init__(self, path: str | Path, rate: float, *, force: bool = False) -> None:
        self.path, self.rate = Path(path), rate
        opencv()
        check_writable(self.path, force)
        self.written = 0
        self._temporary: Path | None = None
        self._shape: tuple[int, ...] | None = None
        self._video: Any = None

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, uint8 BGR [H, W, 3]; the codec cuts an odd last row or column. Raises VideoError."""
        if self._video is None:
            self._open(frame)
        if frame.shape != self._shape:
            raise VideoError(f"{self.path}: a frame of {_size(frame.shape)}; those before are {_size(self._shape)}")
        self._video.write(frame)
        self.written += 1

    def _open(self, frame: np.ndarray) -> None:
        cv2 = opencv()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # FFmpeg takes the container from the suffix.
            descriptor, name = tempfile.mkstemp(
                prefix=f".{self.path.name}.", suffix=TEMPORARY + self.path.suffix.lower(), dir=self.path.parent
            )
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        os.close(descriptor)
        self._temporary, self._shape = Path(name), frame.shape
        code = cv2.VideoWriter_fourcc(*CODECS[self.path.suffix.lower()])
        self._video = cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, self.rate, (frame.shape[1], frame.shape[0]))
        if not self._video.isOpened():
            raise VideoError(f"{self.path}: cannot be written: no space, or no MPEG-4 encoder in OpenCV")

    def _finish(self) -> None:
        """Reads the frames back, since OpenCV does not tell what the disk refused; then gives the file its name."""
        assert self._temporary is not None
        try:
            with self._temporary.open("rb+") as file:
                os.fsync(file.fileno())
            found = _count(self._temporary)
            if found < self.written:
                raise VideoError(
                    f"{self.path}: cannot be written: of {self.written} frames {found} can be read back; "
                    "is the disk full?"
                )
            self._temporary.chmod(0o644)
            self._temporary.replace(self.path)
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if self._video is not None:
                self._video.release()
                if kind is None:
                    self._finish()
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)


def check_writable(path: Path, force: bool) -> None:
    """Raises VideoError where a :class:`Writer` would refuse the path: known before the first frame is read."""
    if path.suffix.lower() not in CODECS:
        raise VideoError(f"{path}: expected a name that ends in {', '.join(CODECS)}")
    if path.is_dir():
        raise VideoError(f"{path}: is a directory")
    if path.exists() and not force:
        raise VideoError(f"{path}: is there already; move it away, or overwrite it with --force")


def _count(path: Path) -> int:
    cv2 = opencv()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _size(shape: tuple[int, ...] | None) -> str:
    return "x".join(str(side) for side in shape[1::-1]) if shape else "none"
