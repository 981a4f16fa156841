"""Names pictures with a packed network: the pixels as the network takes them, its scores, the best class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camfit.data.image import as_channels
from camfit.engine import Engine


@dataclass(frozen=True)
class Answer:
    """What a network says of one picture.

    number: the class with the highest score; label: its name, where the file has one. scores: [classes], float32.
    """

    number: int
    label: str | None
    scores: np.ndarray

    @property
    def record(self) -> dict[str, object]:
        """As JSON."""
        return {
            "class": self.number,
            "label": self.label,
            "scores": [round(float(score), 5) for score in self.scores],
        }


class Classifier:
    """A packed network that answers for one picture at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        info = engine.info
        self._classes = info.get("classes", [])
        # A network that learned from float images takes pixels in 0..1, one that learned from uint8 in 0..255.
        self._float = info.get("pixels") == "float32"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures that the network takes."""
        return self.engine.input_shape[:2]

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """A picture uint8 [H, W, 1|3] of :attr:`size` as the engine takes it: its channels, its scale.

        Raises DataError for a network of other channels.
        """
        found = as_channels(picture, self.engine.input_shape[2])
        return found / np.float32(255) if self._float else found

    def answer(self, pixels: np.ndarray) -> Answer:
        """Runs the engine on what :meth:`pixels` gave."""
        scores = self.engine.run(pixels).reshape(-1)
        best = int(scores.argmax())
        return Answer(best, str(self._classes[best]) if best < len(self._classes) else None, scores)
