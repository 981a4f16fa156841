"""A method's options as its dataclass and docstrings tell them, and as a command line gives them."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from camfit.errors import RecipeError


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


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Options from ``NAME=VALUE``: the value as in TOML, or a bare word.

    >>> parse_settings(["macs=0.5", "criterion=taylor", "ratios={conv1 = 0.2}"])
    {'macs': 0.5, 'criterion': 'taylor', 'ratios': {'conv1': 0.2}}

    Raises:
        RecipeError: no ``=``, a name given twice, or a value that is neither.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not re.fullmatch(r"\w+", name) or name in found:
            raise RecipeError(f"--set {setting!r}: expected NAME=VALUE, each name once")
        word = re.fullmatch(r"[A-Za-z][\w-]*", text) and text not in ("true", "false", "inf", "nan")
        try:
            found[name] = text if word else tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(
                f"--set {setting!r}: found the value {text!r}, expected one of TOML such as 0.5, true, [1, 2] or a word"
            ) from error
    return found


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
