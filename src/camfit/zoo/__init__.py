"""Architectures to train and compress: one file each, plain modules, and how to train them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from camfit.errors import ModelError
from camfit.zoo import (
    alexnet,
    densenet,
    digits_cnn,
    fire_small,
    googlenet,
    lenet5,
    lenet_300_100,
    mobilenet_v1,
    mobilenet_v2,
    resnet18,
    resnet20,
    resnet50,
    shufflenet_v1,
    squeezenet,
    unet,
    vgg16,
    vgg_small,
)
from camfit.zoo.training import Training

__all__ = ["Training", "build", "names", "training"]


@dataclass(frozen=True)
class _Architecture:
    build: Callable[[tuple[int, int, int], int], nn.Module]
    training: Training


_ARCHITECTURES: Mapping[str, _Architecture] = MappingProxyType(
    {
        "alexnet": _Architecture(alexnet.build, alexnet.TRAINING),
        "densenet121": _Architecture(densenet.build, densenet.TRAINING),
        "digits_cnn": _Architecture(digits_cnn.build, digits_cnn.TRAINING),
        "fire_small": _Architecture(fire_small.build, fire_small.TRAINING),
        "googlenet": _Architecture(googlenet.build, googlenet.TRAINING),
        "lenet5": _Architecture(lenet5.build, lenet5.TRAINING),
        "lenet_300_100": _Architecture(lenet_300_100.build, lenet_300_100.TRAINING),
        "mobilenet_v1": _Architecture(mobilenet_v1.build, mobilenet_v1.TRAINING),
        "mobilenet_v1_025": _Architecture(mobilenet_v1.build_quarter, mobilenet_v1.TRAINING),
        "mobilenet_v2": _Architecture(mobilenet_v2.build, mobilenet_v2.TRAINING),
        "resnet18": _Architecture(resnet18.build, resnet18.TRAINING),
        "resnet20": _Architecture(resnet20.build, resnet20.TRAINING),
        "resnet50": _Architecture(resnet50.build, resnet50.TRAINING),
        "shufflenet_v1": _Architecture(shufflenet_v1.build, shufflenet_v1.TRAINING),
        "squeezenet_1_0": _Architecture(squeezenet.build_1_0, squeezenet.TRAINING),
        "squeezenet_1_1": _Architecture(squeezenet.build_1_1, squeezenet.TRAINING),
        "unet": _Architecture(unet.build, unet.TRAINING),
        "vgg16": _Architecture(vgg16.build, vgg16.TRAINING),
        "vgg_small": _Architecture(vgg_small.build, vgg_small.TRAINING),
    }
)


def names() -> tuple[str, ...]:
    """The architectures that `build` knows."""
    return tuple(_ARCHITECTURES)


def build(name: str, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """An untrained network for inputs [N, C, H, W], input_shape = (C, H, W), with logits [N, classes].

    Those of "unet" are [N, classes, H, W], one for each pixel: it can be pruned and packed, but is no classifier.

    Its options are at their defaults; for others call the architecture itself: `mobilenet_v1.build(..., width=0.5)`.
    Weights are drawn from torch's global generator. Raises ModelError for an unknown name or too small an input.
    """
    return _find(name).build(input_shape, classes)


def training(name: str) -> Training:
    """How to train the architecture from nothing. Raises ModelError for an unknown name."""
    return _find(name).training


def _find(name: str) -> _Architecture:
    if name not in _ARCHITECTURES:
        raise ModelError(f"unknown architecture {name!r}; expected one of {', '.join(names())}")
    return _ARCHITECTURES[name]
