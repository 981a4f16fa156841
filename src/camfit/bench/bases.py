"""The five trained networks that claims and tables start from, on Fashion-MNIST; each is trained once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from camfit.data import Dataset, load
from camfit.errors import CamfitError
from camfit.evaluate import Samples, evaluate
from camfit.network import Network
from camfit.storage import load_network, read_json, save_network, write_json
from camfit.tasks import Task, classification
from camfit.trace import trace
from camfit.train import Train, train
from camfit.zoo import lenet5, lenet_300_100, mobilenet_v1, resnet20, vgg_small

DATA = "fashion-mnist"


@dataclass(frozen=True)
class _Recipe:
    """Attributes:
    build: (input shape, classes) -> the untrained module.
    training: as the zoo trains it, with fewer epochs where one takes two cores a minute and more.
    """

    build: Callable[[tuple[int, int, int], int], nn.Module]
    training: Train


_RECIPES = {
    "lenet-300-100": _Recipe(
        lenet_300_100.build, Train(30, learning_rate=0.05, weight_decay=2e-4, schedule="one-cycle")
    ),
    "lenet-5": _Recipe(lenet5.build, Train(14, learning_rate=0.05, schedule="one-cycle", augment="flip")),
    "vgg-small": _Recipe(
        partial(vgg_small.build, width=32), Train(5, learning_rate=0.05, schedule="one-cycle", augment="flip")
    ),
    "resnet-20": _Recipe(resnet20.build, Train(5, learning_rate=0.1, schedule="one-cycle", augment="flip")),
    "mobilenet": _Recipe(
        mobilenet_v1.build_quarter,
        Train(5, learning_rate=0.1, weight_decay=1e-4, schedule="one-cycle", augment="flip"),
    ),
}

NAMES = tuple(_RECIPES)


@dataclass(frozen=True)
class Base:
    """A trained network and its data.

    Attributes:
        seconds: that its training took, where it was made.
    """

    name: str
    network: Network
    dataset: Dataset
    training: Samples
    validation: Samples
    test: Samples
    task: Task
    seconds: float


def base(name: str, seed: int, folder: Path, progress: Callable[[str], None] = lambda line: None) -> Base:
    """The network ``name`` of this seed: the one kept below ``folder``, or trained now and kept.

    A kill loses the epoch under way. One thread trains, so that the same seed ends in the same bits.

    Raises:
        CamfitError: there is no such base, or what is kept was made by another recipe.
        DataError: Fashion-MNIST is not installed; says which package brings it.
    """
    if name not in _RECIPES:
        raise CamfitError(f"base {name!r}: expected one of {', '.join(NAMES)}")
    recipe = _RECIPES[name]
    dataset = load(DATA, seed=seed)
    training, validation, test = (Samples.of(dataset, split) for split in (dataset.train, dataset.val, dataset.test))
    task = classification()
    place = folder / name / f"seed-{seed}"
    kept, record = place / "network.safetensors", place / "training.json"
    made_by = {"data": dataset.fingerprint, "training": msgspec.to_builtins(recipe.training), "seed": seed}
    if not record.exists():
        torch.manual_seed(seed)
        network = trace(recipe.build(dataset.input_shape, len(dataset.classes)), dataset.input_shape)
        threads, started = torch.get_num_threads(), time.monotonic()
        torch.set_num_threads(1)
        try:
            train(
                network, training, validation, task, recipe.training,
                seed=seed, checkpoint=place / "checkpoint.pt", progress=progress, label=f"{name}, seed {seed}",
            )  # fmt: skip
        finally:
            torch.set_num_threads(threads)
        save_network(network, kept)
        score = evaluate(network, validation, task)
        write_json(record, {**made_by, "seconds": time.monotonic() - started, "validation": score})
        (place / "checkpoint.pt").unlink(missing_ok=True)
    found = read_json(record)
    if _without_defaults(found) != _without_defaults(made_by):
        raise CamfitError(f"{record}: found a network of another recipe, expected {made_by}; delete {place}")
    return Base(name, load_network(kept), dataset, training, validation, test, task, found["seconds"])


def _without_defaults(record: Any) -> dict[str, Any]:
    """What made a network, but for options of training at their default: an older record does not know them all."""
    told = {key: record.get(key) for key in ("data", "training", "seed")}
    defaults = msgspec.to_builtins(Train(0))
    training = told["training"] or {}
    return told | {"training": {key: value for key, value in training.items() if value != defaults.get(key)}}
