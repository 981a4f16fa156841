"""A problem that is learnt in a moment, and the command line in this process: for tests of whole runs.

Images 8x8 grey with a bright spot whose place is the class; a network of about 1,300 weights.
"""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from camfit import cli, ladder
from camfit.data import Dataset, Normalisation, Split, to_tensor
from camfit.measure import measure
from camfit.train import Train

CLASSES = ("left", "right", "below")
TRAINING = Train(epochs=12, learning_rate=0.05, batch_size=32, schedule="one-cycle")

# The network as a user's file; `net` builds the same one.
MODEL_FILE = """
from torch import nn

def build(shape, classes):
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * (height // 4) * (width // 4), 16), nn.ReLU(), nn.Linear(16, classes),
    )
"""


def arrays(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, 8, 8, 1] and labels [count], every class equally often."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = rng.integers(0, 90, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = ((2, 1), (2, 5), (5, 3))[label] + rng.integers(-1, 2, 2)
        image[row : row + 2, column : column + 2] += 120
    return images.astype(np.uint8), labels.astype(np.int64)


def dataset(train: int = 96, rest: int = 48) -> Dataset:
    """The problem as a data set: ``train`` images to learn from, ``rest`` each for validation and test."""
    splits = [Split(*arrays(count, seed)) for seed, count in enumerate((train, rest, rest))]
    return Dataset("spots", *splits, CLASSES, Normalisation.measured(splits[0].images))


def write_npz(path: Path, **changes: np.ndarray) -> Path:
    """The problem as an .npz file, with some of its arrays changed."""
    data = dataset()
    parts = {"train": data.train, "val": data.val, "test": data.test}
    stored = {f"x_{name}": split.images for name, split in parts.items()}
    stored |= {f"y_{name}": split.labels for name, split in parts.items()}
    stored["classes"] = np.array(CLASSES)
    np.savez(path, **(stored | changes))
    return path


def net(seed: int = 0) -> nn.Module:
    """The network, untrained."""
    space: dict[str, object] = {}
    exec(MODEL_FILE, space)
    torch.manual_seed(seed)
    module = space["build"]((1, 8, 8), len(CLASSES))  # type: ignore[operator]
    assert isinstance(module, nn.Module)
    return module


def trained_net(data: Dataset | None = None) -> nn.Module:
    """The network, trained by a plain loop until it names nearly every image."""
    found = data or dataset()
    inputs, targets = to_tensor(found.train.images, found.normalisation), torch.from_numpy(found.train.labels)
    module = net()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), targets).backward()
        optimizer.step()
    return module.eval()


def write_model(folder: Path, text: str = MODEL_FILE) -> str:
    """A user's model file in the folder; returns how the command line names it."""
    file = folder / "spots.py"
    file.write_text(text)
    return f"{file}:build"


def measure_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets fit and apply time each file for some milliseconds instead of a second."""
    # The package's attribute of this name is the function.
    module = importlib.import_module("camfit.fit")
    monkeypatch.setattr(module, "measure", functools.partial(measure, seconds=0.005))


def climb_briefly(monkeypatch: pytest.MonkeyPatch, rungs: int = 1) -> None:
    """Lets fit try so many rungs, and train an epoch where it would train fifteen."""
    monkeypatch.setattr(ladder, "RUNGS", ladder.RUNGS[:rungs])
    monkeypatch.setattr(ladder.Ladder, "_epochs", lambda _, portions: portions)


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit status and both streams."""

    status: int
    out: str
    err: str


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Outcome:
    """Runs ``camfit WORDS...`` in this process."""
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["camfit", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
            sys.exit(0)
    streams = capsys.readouterr()
    return Outcome(int(exit_.value.code or 0), streams.out, streams.err)
