"""Finds every method: a module below :mod:`camfit.methods` that defines ``ENTRY`` is in the catalogue."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import MappingProxyType

import camfit.methods
from camfit.errors import RecipeError
from camfit.method import Entry

# In the survey's order.
FAMILIES = ("distillation", "hashing", "pruning", "quantization", "precision", "binarization")


@functools.cache
def methods() -> MappingProxyType[str, Entry]:
    """All methods by name, by family in the survey's order, then by row."""
    found: list[Entry] = []
    for module in pkgutil.walk_packages(camfit.methods.__path__, "camfit.methods."):
        if not module.ispkg:
            entry = getattr(importlib.import_module(module.name), "ENTRY", None)
            if isinstance(entry, Entry):
                found.append(entry)
    return MappingProxyType({entry.name: entry for entry in sorted(found, key=_place)})


def find(name: str) -> Entry:
    """The method called ``name``, by name or row (``l1-filters`` or ``PR6``).

    Raises:
        RecipeError: there is none; lists all.
    """
    for entry in methods().values():
        if name in (entry.name, entry.row):
            return entry
    raise RecipeError(
        f"no method {name!r}; expected one of {', '.join(f'{e.name} ({e.row})' for e in methods().values())}"
    )


def _place(entry: Entry) -> tuple[int, int]:
    """By family, then by the row's number (PR3 before PR10)."""
    return FAMILIES.index(entry.family), int("".join(filter(str.isdigit, entry.row)))
