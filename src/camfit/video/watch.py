"""A camera's loop: find what moves, name it with a packed network, draw it, write it; and what each part costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camfit.classify import Answer, Classifier
from camfit.engine import Engine
from camfit.errors import VideoError
from camfit.video.box import Box
from camfit.video.draw import draw_box
from camfit.video.frames import Reader, Writer, check_writable
from camfit.video.motion import MovingObjects
from camfit.video.opencv import opencv

PARTS = ("read", "detect", "engine", "write")
_RATE = 25.0  # of the video that is written, where the one that is read does not say
_EVERY = 5.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Seen:
    """An object of a frame: where it is, and what the network says.

    probability: of the best class, by a soft-max over the scores unless the network ends in one.
    """

    box: Box
    answer: Answer
    probability: float

    @property
    def record(self) -> dict[str, object]:
        """As JSON."""
        return {"box": list(self.box), **self.answer.record, "probability": round(self.probability, 5)}


@dataclass(frozen=True)
class Figures:
    """What a video took.

    seconds: wall clock of the loop. cpu: processor seconds of all threads by part: read (decode the file), detect
    (background, blobs, crops), engine (the network's runs alone), write (draw and encode). rate: the video's own frames
    a second, None where it does not say.
    """

    frames: int
    objects: int
    seconds: float
    rate: float | None
    cpu: dict[str, float]

    @property
    def record(self) -> dict[str, object]:
        """As JSON. share_of_core: processor time of a frame by the time until the next one, at the video's rate."""
        shares = {
            "engine": self.share("engine"),
            "detect_and_engine": self.share("detect", "engine"),
            "all": self.share(*PARTS),
        }
        return {
            "frames": self.frames,
            "objects": self.objects,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames / self.seconds, 2),
            "video_frames_per_second": self.rate,
            "cpu_ms_per_frame": {part: round(1e3 * self.cpu[part] / self.frames, 4) for part in PARTS},
            "share_of_core": {name: share if share is None else round(share, 6) for name, share in shares.items()},
        }

    def share(self, *parts: str) -> float | None:
        """The part of one core that these parts keep busy at the video's own rate; above 1 it cannot keep up."""
        return None if self.rate is None else sum(self.cpu[part] for part in parts) / self.frames * self.rate


def watch(
    engine: Engine,
    video: str | Path,
    out: str | Path | None = None,
    *,
    force: bool = False,
    detector: MovingObjects | None = None,
    each: Callable[[int, list[Seen]], None] = lambda number, seen: None,
    progress: Callable[[str], None] = lambda message: None,
) -> Figures:
    """Names what moves in a fixed camera's video.

    Args:
        engine: a classifier of grey or colour images; what moves is cut out and resized to its input.
        video: the file to read.
        out: the video to write with boxes, names and probabilities: .avi, .mp4 or .mkv. None: nothing is drawn.
        force: replace ``out`` where it is there.
        detector: by default :class:`MovingObjects` for people.
        each: called with every frame's number, from 0, and what was seen.
        progress: called with a line every few seconds.

    Raises:
        VideoError: the network is no classifier of grey or colour images, the video cannot be read or written.
    """
    height, width, channels = engine.input_shape
    if channels not in (1, 3):
        raise VideoError(f"{engine.source}: takes {channels} channels; expected 1 (grey) or 3 (colour) for video")
    if engine.output_shape[:2] != (1, 1):
        raise VideoError(f"{engine.source}: outputs of shape {list(engine.output_shape)}; expected scores of classes")
    cv2 = opencv()
    if out is not None:
        check_writable(Path(out), force)
        if Path(out).exists() and Path(video).exists() and Path(out).samefile(video):
            raise VideoError(f"{out}: is the video that is read; give another name")
    classifier = Classifier(engine)
    detector = detector or MovingObjects()
    scores_are_probabilities = engine.layers[-1]["op"] == "softmax"
    clock, objects = _Clock(), 0
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the figures are shares of one core
    try:
        with Reader(video) as reader:
            output = None if out is None else Writer(out, reader.rate or _RATE, force=force)
            with output or nullcontext():
                begin = told = time.perf_counter()
                frames = iter(reader)
                while True:
                    with clock.part("read"):
                        frame = next(frames, None)
                    if frame is None:
                        break
                    with clock.part("detect"):
                        boxes = detector(frame)
                        inputs = [classifier.pixels(box.picture(frame, (height, width))) for box in boxes]
                    with clock.part("engine"):
                        answers = [classifier.answer(pixels) for pixels in inputs]
                    seen = [
                        Seen(box, answer, _probability(answer, scores_are_probabilities))
                        for box, answer in zip(boxes, answers, strict=True)
                    ]
                    objects += len(seen)
                    if output is not None:
                        with clock.part("write"):
                            for one in seen:
                                text = f"{one.answer.label or one.answer.number} {one.probability:.2f}"
                                draw_box(frame, one.box, text, one.answer.number)
                            output.write(frame)
                    each(reader.read - 1, seen)
                    now = time.perf_counter()
                    if now - told > _EVERY:
                        of = f" of {reader.announced}" if reader.announced else ""
                        progress(f"frame {reader.read}{of}, {reader.read / (now - begin):.1f} a second")
                        told = now
                seconds = time.perf_counter() - begin
            if reader.announced is not None and reader.read < reader.announced:
                progress(f"{video}: announces {reader.announced} frames; {reader.read} could be read")
            return Figures(reader.read, objects, seconds, reader.rate, clock.cpu)
    finally:
        cv2.setNumThreads(threads)


class _Clock:
    """Processor seconds of all threads, by part."""

    def __init__(self) -> None:
        self.cpu = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        self.cpu[name] += time.process_time() - begin


def _probability(answer: Answer, as_it_is: bool) -> float:
    scores = answer.scores.astype(np.float64)
    if as_it_is:
        return float(scores[answer.number])
    powers = np.exp(scores - scores.max())
    return float(powers[answer.number] / powers.sum())
