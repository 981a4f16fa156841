"""A box's picture: the right place, red first, averaged."""

from __future__ import annotations

import numpy as np
import pytest

from camfit.video import Box

pytest.importorskip("cv2", reason="video tests need OpenCV, camfit[video]")


def test_a_picture_is_what_is_inside_with_red_first() -> None:
    frame = np.zeros((9, 12, 3), np.uint8)
    frame[2:6, 3:5] = (1, 2, 3)
    np.testing.assert_array_equal(Box(3, 2, 2, 4).picture(frame, (4, 2)), np.full((4, 2, 3), (3, 2, 1)))


def test_a_smaller_picture_is_the_mean_of_its_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
    means = frame.reshape(4, 2, 3, 2, 3).mean((1, 3))[..., ::-1]
    np.testing.assert_allclose(Box(0, 0, 6, 8).picture(frame, (4, 3)), means, atol=0.51)
