"""What moves before a fixed camera is found where it is; what is too small, too flat or still is not."""

from __future__ import annotations

import numpy as np
import pytest

from camfit.errors import VideoError
from camfit.video import Box, MovingObjects
from video import scenes


@pytest.mark.parametrize("shrink", [1, 2, 3])
def test_a_walking_rectangle_is_boxed_from_its_second_frame_on(shrink: int) -> None:
    detector = MovingObjects(shrink=shrink)
    for number, frame in enumerate(scenes.frames()):
        expected, found = scenes.place(number), detector(frame)
        if expected is None:
            assert found == []
        elif number > scenes.ARRIVES:
            assert len(found) == 1, number
            assert scenes.overlap(found[0], expected) > 0.75, number


def test_blobs_are_chosen_by_area_height_and_shape_in_pixels_of_the_whole_frame() -> None:
    mask = np.zeros((100, 200), np.uint8)
    for x, width, height in ((2, 20, 40), (40, 11, 44), (60, 20, 20), (90, 60, 40), (160, 5, 40), (170, 2, 8)):
        mask[4 : 4 + height, x : x + width] = 1
    # Doubled: 40x80; 22x88, exactly four times as high; 40x40, not above 40 high; 120x80 wide; 10x80 thin; 4x16 small.
    assert MovingObjects().boxes(mask) == [Box(4, 8, 40, 80)]
    assert MovingObjects(shape=(0.5, 4.01)).boxes(mask) == [Box(4, 8, 40, 80), Box(80, 8, 22, 88), Box(180, 8, 120, 80)]
    assert MovingObjects(shrink=1).boxes(mask) == []
    assert MovingObjects(shrink=1, height=39).boxes(mask) == [Box(2, 4, 20, 40)]
    assert MovingObjects(shrink=1, height=39, area=800).boxes(mask) == []


@pytest.mark.parametrize(
    "options", [{"history": 0}, {"threshold": 0.0}, {"shrink": 0}, {"area": -1}, {"shape": (2, 1)}]
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(VideoError, match="expected"):
        MovingObjects(**options)  # type: ignore[arg-type]
