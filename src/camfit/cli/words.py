"""What typed words stand for: recipes, data sets, training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

import camfit
from camfit import data as datasets
from camfit import models
from camfit.data import Dataset
from camfit.errors import DataError, RecipeError
from camfit.options import parse_settings
from camfit.train import Train


def recipe(text: str, settings: Sequence[str], tune: int) -> camfit.Recipe:
    """The recipe in a file, or one method with the options of ``--set`` and ``--tune``."""
    if text.endswith(".toml") or Path(text).exists():
        if settings or tune:
            raise RecipeError(f"{text} is a recipe with steps of its own; --set and --tune are for a method's name")
        return camfit.Recipe.read(text)
    return camfit.Recipe.of(text, parse_settings(settings), camfit.Train(tune) if tune else None)


def dataset(
    data: str, seed: int, mean: str | None, std: str | None, image_size: str | None, outputs: int | None = None
) -> Dataset:
    """The data set; ``outputs``: of the network that names its images, which have no labels."""
    size = None if image_size is None else _size(image_size)
    return datasets.load(
        data, seed=seed, mean=_numbers(mean, "--mean"), std=_numbers(std, "--std"), size=size, outputs=outputs
    )


def _numbers(text: str | None, option: str) -> float | list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise DataError(f"{option} {text!r}: expected numbers separated by commas") from error
    return values[0] if len(values) == 1 else values


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise DataError(f"--image-size {text!r}: expected height x width in pixels, such as 32x32")
    return int(height), int(width)


def training(model: str, dataset: Dataset, epochs: int | None, learning_rate: float | None) -> Train | None:
    """The model's own training with what was asked for in its place; None where nothing was."""
    changes = {"epochs": epochs, "learning_rate": learning_rate}
    asked = {name: value for name, value in changes.items() if value is not None}
    if not asked:
        return None
    try:
        return msgspec.structs.replace(models.default_training(model, dataset), **asked)
    except ValueError as error:
        raise RecipeError(f"training: {error}") from error
