"""A public trained network through the engine: MobileNet v2 with ImageNet weights on photographs that packages ship.

How far the engine's float32 is from torch, and how often int8 (NP4), without training, names what float names. There
are no labels here: the figure is agreement with float. The photographs are dealt into two folds; the plan for one fold
sees crops of the other fold's photographs only.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from camfit.bench.machine import this_machine
from camfit.bench.quantizers import QUANTIZERS, Quantizer
from camfit.data import Normalisation, to_tensor
from camfit.data.image import as_channels, read_image
from camfit.engine import Engine
from camfit.errors import CamfitError
from camfit.large_blocks import keep_large_blocks
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.onnx import to_onnx
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import mobilenet_v2, pretrained

SIDE = 224

# One photograph of each scene: no drawing, no scan of a page, no second view of what another shows.
_SCIKIT_IMAGE = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "retina.jpg"),
    "rocket.jpg",
)
_OPENCV = (
    *("data/HappyFish.jpg", "data/aero1.jpg", "data/aero3.jpg", "data/aloeL.jpg", "data/apple.jpg", "data/baboon.jpg"),
    *("data/basketball1.png", "data/board.jpg", "data/box.png", "data/box_in_scene.png", "data/building.jpg"),
    *("data/butterfly.jpg", "data/chicky_512.png", "data/ela_original.jpg", "data/fruits.jpg", "data/graf1.png"),
    *("data/home.jpg", "data/left.jpg", "data/left01.jpg", "data/leuvenA.jpg", "data/licenseplate_motion.jpg"),
    *("data/messi5.jpg", "data/orange.jpg", "data/rubberwhale1.png", "data/smarties.png", "data/squirrel_cls.jpg"),
    *("data/stuff.jpg", "alphamat/input_images/plant.jpg", "hfs/data/000.jpg", "hfs/data/001.jpg", "hfs/data/002.jpg"),
    *(f"text/scenetext0{number}.jpg" for number in range(1, 7)),
    *(f"text/scenetext_segmented_word0{number}.jpg" for number in range(1, 6)),
)
_OPENCV_FOLDER = Path("/usr/share/doc/opencv-doc/examples")

SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("default", {}),
    ("values as they are", {"value_equalisation": False}),
    ("range: min-max", {"calibration": "min-max"}),
    ("nearest rounding", {"output_rounding": 0}),
    ("weights of 7 bits", {"weight_bits": 7}),
    ("weights per tensor", {"weights": "tensor"}),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """Crops as uint8 [N, H, W, C] of one half of the photographs.

    Attributes:
        centres: one of each photograph.
        corners: four more of each, in order.
        random: for calibration.
    """

    centres: np.ndarray
    corners: np.ndarray
    random: np.ndarray


def paths() -> tuple[Path, ...]:
    """Where the photographs lie.

    Raises:
        CamfitError: a package is missing; says which.
    """
    spec = importlib.util.find_spec("skimage")
    folders = [Path(folder) / "data" for folder in (spec.submodule_search_locations or [])] if spec is not None else []
    if not folders:
        raise CamfitError("photographs are in a package that is not installed; pip install --no-deps scikit-image")
    found = (*(folders[0] / name for name in _SCIKIT_IMAGE), *(_OPENCV_FOLDER / name for name in _OPENCV))
    for path in found:
        if not path.is_file():
            package = "Debian's opencv-doc" if _OPENCV_FOLDER in path.parents else "scikit-image"
            raise CamfitError(f"{path}: no such photograph; it is in {package}")
    return found


def scaled(height: int, width: int, short: int) -> tuple[int, int]:
    """(height, width) with the shorter side ``short``, rounded."""
    factor = short / min(height, width)
    return max(short, round(height * factor)), max(short, round(width * factor))


def crop(pixels: np.ndarray, top: int, left: int, side: int = SIDE) -> np.ndarray:
    """[side, side, C]."""
    return pixels[top : top + side, left : left + side]


def centre_and_corners(pixels: np.ndarray, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """The crop in the middle [side, side, C], and the four in the corners [4, side, side, C]."""
    bottom, right = pixels.shape[0] - side, pixels.shape[1] - side
    corners = [crop(pixels, top, left, side) for top in (0, bottom) for left in (0, right)]
    return crop(pixels, bottom // 2, right // 2, side), np.stack(corners)


def random_crops(
    sized: Callable[[int, int], np.ndarray], photographs: int, number: int, seed: int, side: int = SIDE
) -> np.ndarray:
    """Crops of the photographs in turn, half of them mirrored [number, side, side, C].

    sized: pixels by the photograph's number and the length of its shorter side, drawn from ``side`` to 1.75 times that.
    """
    generator = np.random.default_rng(seed)
    found = []
    for index in range(number):
        pixels = sized(index % photographs, int(generator.integers(side, 7 * side // 4 + 1)))
        top, left = (int(generator.integers(length - side + 1)) for length in pixels.shape[:2])
        one = crop(pixels, top, left, side)
        found.append(one[:, ::-1] if generator.random() < 0.5 else one)
    return np.stack(found)


def folds(files: Sequence[Path], images: int, seed: int) -> tuple[Fold, Fold]:
    """Every second photograph, and the others."""
    halves = []
    for first in (0, 1):
        half = files[first::2]

        def sized(index: int, short: int, half: Sequence[Path] = half) -> np.ndarray:
            height, width = read_image(half[index]).shape[:2]
            return as_channels(read_image(half[index], scaled(height, width, short)), 3)

        views = [centre_and_corners(sized(index, 8 * SIDE // 7)) for index in range(len(half))]
        halves.append(
            Fold(
                np.stack([centre for centre, _ in views]),
                np.concatenate([corners for _, corners in views]),
                random_crops(sized, len(half), images, seed),
            )
        )
    return halves[0], halves[1]


def agreement(expected: np.ndarray, found: np.ndarray) -> int:
    """Rows whose largest entry is at the same place."""
    return int((expected.argmax(1) == found.argmax(1)).sum())


def signal_to_noise(expected: np.ndarray, found: np.ndarray) -> float:
    """Decibels of all rows together; infinite where nothing differs."""
    power = float(np.square(expected, dtype=np.float64).sum())
    noise = float(np.square(expected - found, dtype=np.float64).sum())
    return 10 * math.log10(power / noise) if noise > 0 else math.inf


def network() -> Network:
    """MobileNet v2 with published weights, traced.

    Raises:
        ModelError: the package with the weights is not installed.
    """
    file = pretrained.find("mobilenet_v2")
    model = mobilenet_v2.build((3, SIDE, SIDE), 1000)
    model.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    return trace(model.eval(), (3, SIDE, SIDE)).eval()


def measure(images: int, seed: int, command: str, progress: Callable[[str], None] = lambda line: None) -> Row:
    """The figures of the page; see :func:`camfit.bench.photographs_page.page`."""
    keep_large_blocks()
    exact = network()
    halves = folds(paths(), images, seed)
    pixels = Normalisation.from_mean_std(pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD, 255)
    engine = Engine(pack(exact, pixels).data)
    expected = [(engine.run(half.centres), engine.run(half.corners)) for half in halves]
    progress("float: done")
    with torch.no_grad():
        torch_logits = exact(to_tensor(halves[0].centres, pixels)).numpy()
    difference = float(np.abs(torch_logits - expected[0][0]).max() / np.abs(torch_logits).max())
    progress(f"float: engine and torch differ by {difference:.1e}")
    rows = []
    for name, options in SETTINGS:
        logits = []
        for half, other in (halves, halves[::-1]):
            inputs = to_tensor(other.random, pixels)
            calibration = Calibration(inputs, torch.zeros(len(inputs), dtype=torch.int64), seed)
            fitted = apply(exact, Int8(images=images, **options).plan(exact, calibration))
            engine = Engine(pack(fitted, pixels).data)
            logits.append((engine.run(half.centres), engine.run(half.corners)))
        rows.append(row(name, options, expected, logits))
        progress(f"{name}: {_told(rows[-1])}")
    peers, missing = _of_peers(exact, halves, pixels, expected, progress)
    return {
        "command": command,
        "seed": seed,
        "calibration_images": images,
        "float_difference": difference,
        "rows": rows,
        "peers": peers,
        "missing": missing,
        "saturates": not {"avx512_vnni", "avx_vnni", "asimddp"} & {*this_machine().flags},
        "versions": this_machine().versions,
    }


def _of_peers(
    exact: Network,
    halves: tuple[Fold, Fold],
    pixels: Normalisation,
    expected: Sequence[tuple[np.ndarray, np.ndarray]],
    progress: Callable[[str], None],
    quantizers: Sequence[Quantizer] = QUANTIZERS,
) -> tuple[list[Row], list[Row]]:
    """(figures of the other quantizers, the name and the reason of those that gave none)."""
    rows: list[Row] = []
    missing: list[Row] = []
    for quantizer in quantizers:
        called = ", ".join([quantizer.name, *map(str, quantizer.options.values())])
        reason = quantizer.missing()
        try:
            found = [] if reason else _peer_logits(quantizer, exact, halves, pixels)
        except Exception as error:  # another toolkit's, of any kind: told, and the run goes on
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        if reason:
            missing.append({"name": quantizer.name, "options": quantizer.options, "reason": reason})
            progress(f"{called}: {reason}")
        else:
            rows.append(row(quantizer.name, quantizer.options, expected, found) | {"version": quantizer.version()})
            progress(f"{called}: {_told(rows[-1])}")
    return rows, missing


def _peer_logits(
    quantizer: Quantizer, exact: Network, halves: tuple[Fold, Fold], pixels: Normalisation
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of (the centres, the corners) of each half, calibrated on the other's random crops."""
    found = []
    for half, other in (halves, halves[::-1]):
        with tempfile.TemporaryDirectory() as folder:
            run = quantizer.quantize(to_onnx(exact), to_tensor(other.random, pixels).numpy(), Path(folder))
            centres, corners = (run(to_tensor(part, pixels).numpy()) for part in (half.centres, half.corners))
        found.append((centres, corners))
    return found


def _told(row: Row) -> str:
    return (
        f"{row['agree']} of {row['photographs']}, crops {row['crops_agree']} of {row['crops']}, "
        f"{row['decibels']:.1f} dB"
    )


def row(
    name: str,
    options: dict[str, Any],
    expected: Sequence[tuple[np.ndarray, np.ndarray]],
    found: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Row:
    """One setting's figures over both folds: logits of float and of int8, for (the centres, the corners)."""
    centres = [(float_[0], int8[0]) for float_, int8 in zip(expected, found, strict=True)]
    corners = [(float_[1], int8[1]) for float_, int8 in zip(expected, found, strict=True)]
    every = [np.concatenate([pair[side] for pair in (*centres, *corners)]) for side in (0, 1)]
    return {
        "name": name,
        "options": options,
        "photographs": sum(len(pair[0]) for pair in centres),
        "agree": sum(agreement(*pair) for pair in centres),
        "by_fold": [[agreement(*pair), len(pair[0])] for pair in centres],
        "crops": len(every[0]),
        "crops_agree": agreement(every[0], every[1]),
        "decibels": signal_to_noise(every[0], every[1]),
    }
