"""Patches of people and of background from a fixed camera's video, as an .npz file for camfit's --data.

What moves is a person, by the same detector that `camfit run --video` uses; nobody labelled anything by hand. A
background patch is a crop of the same size, elsewhere in the same frame, where next to nothing moves. The parts are
split by time, with gaps, so that no patch of one part has a near twin in another.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from camfit.errors import CamfitError
from camfit.video import Box, MovingObjects, Reader

CLASSES = ("background", "person")
SIZE = (32, 32)
EVERY = 3  # frames between two that give patches
WARM_UP = 4  # the background is learnt from every so many frames of the whole video first
STILL = 0.003  # the largest share of foreground in a background patch
TRIES = 20
PARTS = {"train": range(450), "val": range(465, 540), "test": range(600, sys.maxsize)}


def part_of(number: int) -> str | None:
    """The part that a frame belongs to; None in the gaps between them."""
    return next((name for name, frames in PARTS.items() if number in frames), None)


def still_box(like: Box, mask: np.ndarray, shrink: int, rng: np.random.Generator) -> Box | None:
    """A box of the same size where next to nothing moves, or None if tries run out."""
    height, width = (side * shrink for side in mask.shape)
    for _ in range(TRIES):
        x, y = int(rng.integers(width - like.width + 1)), int(rng.integers(height - like.height + 1))
        small = Box(x // shrink, y // shrink, -(-like.width // shrink), -(-like.height // shrink))
        if small.cut(mask).mean() < STILL:
            return Box(x, y, like.width, like.height)
    return None


def patches(video: Path, seed: int) -> dict[str, np.ndarray]:
    """Arrays x_train, y_train, ...: images uint8 [N, 32, 32, 3] and labels [N], in the order of time."""
    rng, detector = np.random.default_rng(seed), MovingObjects()
    with Reader(video) as reader:
        for number, frame in enumerate(reader):
            if number % WARM_UP == 0:
                detector.foreground(frame)
    found: dict[str, list[tuple[np.ndarray, int]]] = {name: [] for name in PARTS}
    with Reader(video) as reader:
        for number, frame in enumerate(reader):
            mask = detector.foreground(frame)
            part = part_of(number)
            if part is None or number % EVERY:
                continue
            for box in detector.boxes(mask):
                found[part].append((box.picture(frame, SIZE), CLASSES.index("person")))
                still = still_box(box, mask, detector.shrink, rng)
                if still is not None:
                    found[part].append((still.picture(frame, SIZE), CLASSES.index("background")))
    empty = [name for name, pairs in found.items() if not pairs]
    if empty:
        raise CamfitError(f"{video}: nothing moves in the frames of {', '.join(empty)}")
    arrays = {"classes": np.array(CLASSES)}
    for part, pairs in found.items():
        arrays[f"x_{part}"] = np.stack([picture for picture, _ in pairs])
        arrays[f"y_{part}"] = np.array([label for _, label in pairs])
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path, help="an .npz file")
    parser.add_argument("--seed", type=int, default=0, help="draws the background's places")
    given = parser.parse_args()
    try:
        arrays = patches(given.video, given.seed)
    except CamfitError as error:
        sys.exit(f"error: {error}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(given.out, **arrays)
    for part in PARTS:
        labels = arrays[f"y_{part}"]
        print(f"{part}: {(labels == 1).sum()} people, {(labels == 0).sum()} background")


if __name__ == "__main__":
    main()
