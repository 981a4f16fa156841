"""The way in: a module or an exported program to a network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from camfit.errors import ModelError
from camfit.network import Network
from camfit.trace.ops import HANDLERS, VIEWS
from camfit.trace.tracer import Tracer

_BATCH = 2  # any number but 1, so that a reshape of the batch dimension is told from one of the channels


def trace(model: nn.Module | ExportedProgram, input_shape: tuple[int, ...]) -> Network:
    """Traces a model.

    Args:
        model: any module that ``torch.export`` accepts, or an exported program (whose example batch size must not be 1
            when it flattens by a fixed ``view``).
        input_shape: (channels, height, width), or (features,), of one input.

    Returns:
        A network in evaluation mode whose outputs equal the model's.

    Raises:
        ModelError: an op that camfit does not know (named, with its place in the source), a wrong input shape, or a
            model that cannot be exported.
    """
    if isinstance(model, Network):
        return model.clone()
    if isinstance(model, ExportedProgram):
        program = model
    else:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            example = torch.zeros(_BATCH, *input_shape)
            with torch.no_grad():
                model(example)
            program = torch.export.export(model, (example,))
        except Exception as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"model {type(model).__name__} cannot be traced on input {list(input_shape)}: {first_line}"
            ) from error
        finally:
            for module, training in modes:
                module.training = training
    return Tracer(program, tuple(input_shape), HANDLERS, VIEWS).network()


def load_exported(path: Path) -> ExportedProgram:
    """Reads a ``.pt2`` file saved by ``torch.export.save``."""
    try:
        return torch.export.load(path)
    except Exception as error:
        raise ModelError(
            f"{path}: not a .pt2 file that torch {torch.__version__} can load ({type(error).__name__}: {error})"
        ) from error
