"""Boxes with a name, drawn into a frame."""

from __future__ import annotations

import numpy as np

from camfit.video.box import Box
from camfit.video.opencv import opencv

# BGR by class, in turn: apart for colour-blind eyes, too (Okabe and Ito).
COLOURS = ((178, 178, 178), (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (167, 121, 204))


def draw_box(frame: np.ndarray, box: Box, text: str, number: int) -> None:
    """Draws a box with its text above it, or below it at the top edge, in the colour of class ``number``; in place.

    frame: uint8 BGR [H, W, 3].
    """
    cv2 = opencv()
    colour = COLOURS[number % len(COLOURS)]
    x, y, width, height = box
    cv2.rectangle(frame, (x, y), (x + width - 1, y + height - 1), colour, 2)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, frame.shape[0] / 1200)
    (wide, high), below = cv2.getTextSize(text, font, scale, 1)
    left = max(0, min(x - 1, frame.shape[1] - wide - 4))
    top = y - high - below - 3 if y >= high + below + 3 else min(y + height + 1, frame.shape[0] - high - below - 2)
    cv2.rectangle(frame, (left, top), (left + wide + 3, top + high + below + 2), colour, cv2.FILLED)
    cv2.putText(frame, text, (left + 2, top + high + 1), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
