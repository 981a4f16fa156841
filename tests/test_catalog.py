"""The catalogue: every method module is in it, once; names and rows find it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass

import pytest

import camfit.methods
from camfit import catalog
from camfit.errors import RecipeError
from camfit.method import Entry, Planner, Term
from camfit.options import options, summary

FAMILIES = {"distillation", "hashing", "pruning", "quantization", "precision", "binarization"}


def test_every_module_below_methods_with_an_entry_is_listed() -> None:
    modules = [m.name for m in pkgutil.walk_packages(camfit.methods.__path__, "camfit.methods.") if not m.ispkg]
    entries = [vars(importlib.import_module(name)).get("ENTRY") for name in modules]
    found = {entry.name for entry in entries if isinstance(entry, Entry)}
    assert set(catalog.methods()) == found
    assert {"PR3", "PR6", "PR13", "QZ2", "HS1", "BN4", "KD3"} <= {entry.row for entry in catalog.methods().values()}


def test_names_and_rows_are_unique_and_find_their_method() -> None:
    entries = list(catalog.methods().values())
    keys = [key for entry in entries for key in (entry.row, entry.name)]
    assert len(set(keys)) == len(keys)
    for entry in entries:
        assert catalog.find(entry.row) is catalog.find(entry.name) is entry


@pytest.mark.parametrize("name", list(catalog.methods()))
def test_an_entry_says_what_it_must(name: str) -> None:
    entry = catalog.methods()[name]
    assert re.fullmatch(r"[A-Z]{2}\d+", entry.row)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert entry.family in FAMILIES
    assert entry.family in entry.options.__module__, "the module lies in its family's package"
    assert re.search(r"(19|20)\d\d", entry.paper), "the paper's year"
    assert is_dataclass(entry.options)
    method = entry.options()
    assert isinstance(method, Planner) != isinstance(method, Term)
    assert summary(entry.options)
    assert [option.name for option in options(entry.options)] == [field.name for field in fields(entry.options)]
    for option in options(entry.options):
        assert option.what, f"option {option.name} has its line"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no method 'PR99'; expected one of .*l1-filters \(PR6\)"):
        catalog.find("PR99")
