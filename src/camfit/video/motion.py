"""Moving objects before a fixed camera, by a mixture of Gaussians a pixel.

Zivkovic, "Improved adaptive Gaussian mixture model for background subtraction", 2004: OpenCV's MOG2. What differs from
the background and is not its shadow is cleaned up and falls into blobs; those of a plausible size and shape are
objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from camfit.errors import VideoError
from camfit.video.box import Box
from camfit.video.opencv import opencv

_SURE = 200  # MOG2 marks shadows 127 and foreground 255
_OPEN, _CLOSE = 3, 10  # pixels: specks up to the first go, gaps up to the second close


@dataclass
class MovingObjects:
    """Frames in order to boxes of what moves. It learns the background as it goes, so one serves one camera.

    history: frames that the background remembers. threshold: squared distance from a Gaussian, in variances, from
    which a pixel is foreground. area: least pixels of foreground in a blob. height: least pixels of its box.
    shape: least and largest height / width; by default people who stand or walk. shrink: the background is modelled on
    a frame so many times smaller, a quarter of the work at 2; all other options stay in pixels of the whole frame.
    Raises VideoError if an option is out of range or OpenCV is missing.
    """

    history: int = 300
    threshold: float = 24.0
    area: int = 500
    height: int = 40
    shape: tuple[float, float] = (1.5, 4.0)
    shrink: int = 2
    _model: Any = field(init=False, repr=False)
    _frames: int = field(init=False, default=0, repr=False)

    def __post_init__(self) -> None:
        if min(self.history, self.shrink) < 1 or min(self.area, self.height) < 0 or not self.threshold > 0:
            raise VideoError(f"{self}: expected history and shrink from 1 on, area and height from 0 on, threshold > 0")
        if not 0 <= self.shape[0] <= self.shape[1]:
            raise VideoError(f"{self}: expected a shape (least, largest) of height / width")
        self._model = opencv().createBackgroundSubtractorMOG2(self.history, self.threshold, True)

    def foreground(self, frame: np.ndarray) -> np.ndarray:
        """What moves, after learning this frame: uint8 0 or 1, [H // shrink, W // shrink].

        frame: uint8 BGR [H, W, 3]. In the first frame, nothing moves.
        """
        cv2 = opencv()
        if self.shrink > 1:
            small = max(1, frame.shape[1] // self.shrink), max(1, frame.shape[0] // self.shrink)
            frame = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        marks = self._model.apply(frame)
        self._frames += 1
        if self._frames == 1:
            return np.zeros(marks.shape, np.uint8)
        mask = (marks > _SURE).astype(np.uint8)
        for operation, size in ((cv2.MORPH_OPEN, _OPEN), (cv2.MORPH_CLOSE, max(3, _CLOSE // self.shrink | 1))):
            mask = cv2.morphologyEx(mask, operation, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return np.asarray(mask)

    def boxes(self, mask: np.ndarray) -> list[Box]:
        """The blobs of :meth:`foreground` that count as objects, from top to bottom, in pixels of the whole frame."""
        _, _, blobs, _ = opencv().connectedComponentsWithStats(mask)
        found = []
        for blob in blobs[1:]:  # the first is the background
            x, y, width, height, area = (int(value) * self.shrink for value in blob)
            sized = area * self.shrink > self.area and height > self.height
            if sized and self.shape[0] < height / width < self.shape[1]:
                found.append(Box(x, y, width, height))
        return found

    def __call__(self, frame: np.ndarray) -> list[Box]:
        """Boxes of what moves in this frame, uint8 BGR [H, W, 3]."""
        return self.boxes(self.foreground(frame))
