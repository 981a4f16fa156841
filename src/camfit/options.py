"""A method's options as its dataclass and docstrings tell them: what ``camfit methods NAME`` prints."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass


@dataclass(frozen=True)
class Option:
    """One option: its name, type and default as text, and what the docstring says of it (units included)."""

    name: str
    type: str
    default: str
    what: str


def summary(kind: type) -> str:
    """What the method does: its docstring down to its attributes."""
    return _doc(kind).partition("\nAttributes:\n")[0].strip()


def options(kind: type) -> list[Option]:
    """The fields of a method's dataclass, those that it shares with others included."""
    assert is_dataclass(kind)
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        told |= _attributes(base)
    described = []
    for option in fields(kind):
        default = option.default
        if default is MISSING:
            default = "required" if option.default_factory is MISSING else option.default_factory()
        described.append(Option(option.name, str(option.type), str(default), told.get(option.name, "")))
    return described


def _attributes(kind: type) -> dict[str, str]:
    """Of the docstring's section ``Attributes``: an entry starts with its name at the section's indentation."""
    section = _doc(kind).partition("\nAttributes:\n")[2]
    entries = re.split(r"^    (?=\w+(?:, \w+)*: )", section, flags=re.MULTILINE)[1:]
    found: dict[str, str] = {}
    for entry in entries:
        names, _, what = entry.partition(": ")
        found |= dict.fromkeys(names.split(", "), " ".join(what.replace("``", "").split()))
    return found


def _doc(kind: type) -> str:
    return inspect.cleandoc(vars(kind).get("__doc__") or "")
