"""A rectangle of a frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from camfit.video.opencv import opencv


class Box(NamedTuple):
    """Columns x to x + width, rows y to y + height, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part [height, width, ...] of an image [H, W, ...]; a view."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def picture(self, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What is inside, resized by area averages: uint8 RGB [height, width, 3] of ``size`` = (height, width).

        frame: uint8 BGR [H, W, 3]. One function for the patches that a network learns from and those it is given.
        """
        cv2 = opencv()
        resized = cv2.resize(self.cut(frame), (size[1], size[0]), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(resized[..., ::-1])
