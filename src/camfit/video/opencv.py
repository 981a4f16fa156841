"""OpenCV, where it is installed: quiet, since its failures are told by one error of ours."""

from __future__ import annotations

import os
from typing import Any

from camfit.errors import VideoError


def opencv() -> Any:
    """The module ``cv2``. Raises VideoError, naming the extra, where it is missing."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's "quiet"; read when a video is first opened
    try:
        import cv2
    except ImportError as error:
        raise VideoError(f'video needs OpenCV ({error}); pip install "camfit[video]"') from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
