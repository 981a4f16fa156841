"""Little videos whose contents are known: an upright bright rectangle that walks over a noisy, dark street."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camfit.video import Box

cv2 = pytest.importorskip("cv2", reason="video tests need OpenCV, camfit[video]")

FRAMES, HEIGHT, WIDTH = 70, 120, 160
WALKER = (24, 60)  # width and height of the rectangle
ARRIVES = 40  # the frame it is first seen in: the background is firm by then


def place(number: int) -> Box | None:
    """Where the rectangle is in a frame; None before it arrives."""
    return Box(4 * (number - ARRIVES), 30, *WALKER) if number >= ARRIVES else None


def frames(count: int = FRAMES) -> list[np.ndarray]:
    """The scene, uint8 BGR: the rectangle is blue."""
    rng = np.random.default_rng(0)
    scene = []
    for number in range(count):
        frame = rng.integers(60, 66, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        box = place(number)
        if box is not None:
            box.cut(frame)[...] = (230, 20, 10)
        scene.append(frame)
    return scene


def save(path: Path, scene: list[np.ndarray], rate: float = 10.0) -> Path:
    """Writes frames by OpenCV itself, as MJPEG."""
    size = scene[0].shape[1], scene[0].shape[0]
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), rate, size)
    for frame in scene:
        video.write(frame)
    video.release()
    return path


def load(path: Path) -> list[np.ndarray]:
    """Reads frames by OpenCV itself."""
    capture, scene = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = capture.read()
        if not good:
            return scene
        scene.append(frame)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, wide) * max(0, high)
    return shared / (one.width * one.height + other.width * other.height - shared)
