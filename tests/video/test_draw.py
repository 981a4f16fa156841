"""Drawing stays inside the frame, marks the box's edge, and leaves its middle alone."""

from __future__ import annotations

import numpy as np
import pytest

from camfit.video import Box
from camfit.video.draw import COLOURS, draw_box

pytest.importorskip("cv2", reason="video tests need OpenCV, camfit[video]")


@pytest.mark.parametrize("box", [Box(40, 40, 30, 50), Box(0, 0, 30, 50), Box(130, 70, 30, 50), Box(0, 0, 160, 120)])
def test_the_edge_is_coloured_and_the_text_is_in_the_frame(box: Box) -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    draw_box(frame, box, "person 0.99", 1)
    colour = np.array(COLOURS[1])
    middle = box.y + box.height // 2
    for x in (box.x, box.x + box.width - 1):
        assert (frame[middle, x] == colour).all()
    assert not frame[middle, box.x + box.width // 2].any()
    edges = 4 * (box.width + box.height)
    assert (frame == colour).all(2).sum() > edges + 300  # the filled label
