"""Looks into a ``.pt2`` file before torch reads it: torch.export.load would unpickle, evaluate or link what it finds.

An ordinary file (``torch.export.save`` of a model with plain tensors) holds weights as raw bytes and the graph as JSON.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import torch

from camfit.errors import ModelError

# What an ordinary file holds, below one folder named after the file. Compiled code (data/aotinductor) is not among it.
_MEMBERS = re.compile(
    r"[^/]+/(archive_format|archive_version|byteorder|version|\.data/[^/]+|models/[^/]+\.json|data/sample_inputs/[^/]+\.pt"
    r"|data/(weights|constants)/([^/]+_config\.json|(weight|tensor)_\d+)|extra/.*)"
)
_EXPRESSION = re.compile(r"[\w\s+\-*/(),<>=]*")


def check(path: Path) -> None:
    """Refuses a ``.pt2`` file that holds more than tensors and a graph.

    Raises:
        ModelError: no such file, not an archive, or a member that is pickled, compiled or unknown; names it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # torch's reader does not tell upper from lower case: a name must mean one thing to both.
            if len({name.lower() for name in names}) != len(names):
                raise ModelError(f"{path}: two members of one name; expected a file saved by torch.export.save")
            for name in names:
                if not _MEMBERS.fullmatch(name):
                    raise ModelError(
                        f"{path}: holds {name!r}; expected only weights and a graph, as torch.export.save of "
                        "torch 2.8 or later writes them for a model of plain tensors"
                    )
                _check_member(path, name, archive.read(name))
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError(f"{path}: not a .pt2 file saved by torch.export.save ({error})") from error


def _check_member(path: Path, name: str, content: bytes) -> None:
    if name.endswith("_config.json"):
        for key, value in json.loads(content)["config"].items():
            if value["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", value["path_name"]):
                raise ModelError(f"{path}: {key!r} is a pickled object; expected plain tensors, nothing is unpickled")
    elif name.endswith(".pt"):
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:
            raise ModelError(f"{path}: its example inputs are pickled objects; expected plain tensors") from error
    elif "/models/" in name:
        for text in _expressions(json.loads(content)):
            if not _EXPRESSION.fullmatch(text) or "__" in text:
                raise ModelError(f"{path}: a size is given as {text[:60]!r}; expected arithmetic on numbers and names")


def _expressions(value: object) -> list[str]:
    """Every ``expr_str`` of a graph's JSON: torch evaluates these."""
    found: list[str] = []
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            found.extend(text for key, text in item.items() if key == "expr_str" and isinstance(text, str))
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return found
