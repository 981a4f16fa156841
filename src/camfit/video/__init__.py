"""Fixed cameras: what moves is boxed, a packed network names it, the frames are written with both drawn in.

Reads and writes with OpenCV, the extra ``video``; it is imported where it is first needed.
"""

from camfit.video.box import Box
from camfit.video.frames import Reader, Writer
from camfit.video.motion import MovingObjects
from camfit.video.watch import Figures, Seen, watch

__all__ = ["Box", "Figures", "MovingObjects", "Reader", "Seen", "Writer", "watch"]
