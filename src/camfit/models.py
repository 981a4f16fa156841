"""Where a model comes from: the zoo, a factory in a Python file, a ``.pt2`` file, or a module at hand."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.export import ExportedProgram

from camfit import exported, zoo
from camfit.data import Dataset
from camfit.errors import ModelError
from camfit.network import Network
from camfit.storage import network_bytes
from camfit.trace import load_exported, trace
from camfit.train import Train
from camfit.zoo import pretrained

# Data whose classes survive a mirror; digits and letters do not, and of other data nothing is known.
_MIRRORED = ("fashion-mnist",)
_UNMIRRORED: Mapping[str, Literal["none", "shift"]] = MappingProxyType({"flip": "none", "flip-shift": "shift"})

ModelSource = str | Path | nn.Module | ExportedProgram


@dataclass(frozen=True)
class Model:
    """A traced model.

    Attributes:
        name: as the user gave it.
        network: the traced network.
        trained: False where its weights are fresh; None where nobody said (a module at hand, a .pt2 file).
        training: how to train it from nothing.
    """

    name: str
    network: Network
    trained: bool | None
    training: Train

    @property
    def fingerprint(self) -> str:
        """Short hash of structure and weights."""
        return hashlib.blake2b(network_bytes(self.network), digest_size=8).hexdigest()


def load(source: ModelSource, dataset: Dataset, *, weights: str | Path | None = None, seed: int = 0) -> Model:
    """Loads and traces a model for a data set.

    Args:
        source: ``zoo:NAME``, ``path/file.py:factory``, ``path/file.pt2``, an ``nn.Module`` or an exported program. A
            factory takes (input_shape, classes) or nothing.
        weights: ``.safetensors``, or ``.pt``/``.pth`` holding a state dict (read with ``weights_only=True``);
            ``imagenet`` for those that an installed package holds for the zoo's architecture.
        seed: of fresh weights.

    Raises:
        ModelError: what was not found or does not fit: file, factory, tensor name or shape.
    """
    shape, classes = dataset.input_shape, len(dataset.classes)
    trained: bool | None = weights is not None
    module: nn.Module | ExportedProgram
    if isinstance(source, nn.Module | ExportedProgram):
        name, module = type(source).__name__, source
        trained = None if weights is None else True
    else:
        name = str(source)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if name.startswith("zoo:"):
                module = zoo.build(name.removeprefix("zoo:"), shape, classes)
            elif name.endswith(".pt2"):
                exported.check(Path(name))
                module, trained = load_exported(Path(name)), None
            elif ".py:" in name:
                module = _from_file(name, shape, classes)
            else:
                known = ", ".join(zoo.names())
                raise ModelError(
                    f"model {name!r}: expected zoo:NAME ({known}), path/to/file.py:factory, or a .pt2 file"
                )
    if weights is not None:
        if str(weights) == pretrained.IMAGENET:
            if not name.startswith("zoo:"):
                raise ModelError(f"model {name!r}: {pretrained.IMAGENET} weights are known for the zoo's models alone")
            weights = pretrained.find(name.removeprefix("zoo:"))
        if isinstance(module, ExportedProgram):
            raise ModelError(f"{weights}: a .pt2 model brings its own weights; leave --weights out")
        if isinstance(source, nn.Module):
            module = copy.deepcopy(module)
        load_weights(module, Path(weights))
    with torch.random.fork_rng(devices=[]):  # a layer draws weights as it is built, if only to be given others
        network = trace(module, shape)
    if not network.weighted():
        raise ModelError(f"model {name!r}: has no convolution and no linear layer; there is nothing to compress")
    outputs = network.shapes()[network.nodes[-1].name]
    if outputs != (classes,):
        raise ModelError(
            f"model {name!r}: outputs of shape {list(outputs)}; the data's {classes} classes need [{classes}]"
        )
    return Model(name, network, trained, default_training(source, dataset))


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads a state dict into a module; every name and shape must fit."""
    state = _read_state(path)
    expected = module.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        lacks, knows_not = (", ".join(map(str, names[:3])) or "nothing" for names in (missing, unexpected))
        raise ModelError(f"{path}: does not fit the model: lacks {lacks}; has, not in the model, {knows_not}")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {list(value.shape)}; the model expects {list(expected[name].shape)}"
            )
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {name} holds values that are not finite")
    module.load_state_dict(state, strict=False)


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise ModelError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    if path.suffix not in (".pt", ".pth"):
        raise ModelError(f"{path}: weights of type {path.suffix or 'unknown'}; expected .safetensors, .pt or .pth")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path}: cannot be read as plain weights (nothing else is unpickled): {reason}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"{path}: holds a {type(loaded).__name__}; expected a state dict (names to tensors)")
    return loaded


def _from_file(spec: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    file, _, factory_name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"{path}: no such file (model {spec!r})")
    with _beside(path):
        code = _import(path)
        factory = getattr(code, factory_name, None)
        if not callable(factory):
            available = [name for name, value in vars(code).items() if callable(value) and not name.startswith("_")]
            raise ModelError(f"{path}: has no callable {factory_name!r}; found {', '.join(available) or 'none'}")
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(factory).parameters.values()
        takes = [p for p in parameters if p.default is p.empty and p.kind in by_place]
        if len(takes) not in (0, 2):
            raise ModelError(f"{spec}: takes {len(takes)} arguments; expected none, or (input_shape, classes)")
        try:
            module = factory(shape, classes) if takes else factory()
        except Exception as error:
            raise ModelError(f"{spec}: the factory failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec}: returned {type(module).__name__}; expected a torch.nn.Module")
    return module


def _import(path: Path) -> ModuleType:
    name = f"camfit_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    try:
        spec.loader.exec_module(code)
    except (Exception, SystemExit) as error:
        raise ModelError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return code


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Lets a user's file import its neighbours, as it could if it were run."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def default_training(source: ModelSource, dataset: Dataset) -> Train:
    """How to train a model from nothing: tuned for the zoo; else about 6,000 batches, at least 10 epochs.

    Raises:
        ModelError: an unknown zoo name.
    """
    if isinstance(source, str) and source.startswith("zoo:"):
        return _zoo_training(source.removeprefix("zoo:"), dataset)
    batches = max(1, len(dataset.train) // 128)
    return Train(epochs=min(200, max(10, 6000 // batches)), learning_rate=0.02, schedule="one-cycle")


def _zoo_training(name: str, dataset: Dataset) -> Train:
    found = zoo.training(name)
    return Train(
        epochs=found.epochs_for(len(dataset.train)),
        learning_rate=found.learning_rate,
        batch_size=found.batch_size,
        momentum=found.momentum,
        weight_decay=found.weight_decay,
        schedule=found.schedule,
        augment=found.augment if dataset.name in _MIRRORED else _UNMIRRORED.get(found.augment, found.augment),
    )
