"""A recipe: ordered steps that rewrite or train a network. Readable from TOML; recipes join with ``+``.

    recipe = Recipe("slim", (Rewrite("l1-filters", {"ratio": 0.3}), Train(epochs=3))) + Recipe.read("deep.toml")
    recipe = recipe.joined_by("soft-targets", temperature=4.0)
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from camfit.catalog import find
from camfit.errors import RecipeError
from camfit.method import Planner, Term
from camfit.train import Train


class Rewrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rewrite", tag_field="step"):
    """Apply a planning method.

    Attributes:
        method: name or row, as in ``camfit methods``.
        options: the method's options by name.
    """

    method: str
    options: dict[str, Any] = {}  # noqa: RUF012  (msgspec copies an empty default)

    def planner(self) -> Planner:
        """The method with its options; a :class:`RecipeError` when they are wrong."""
        method = method_with(self.method, self.options)
        if not isinstance(method, Planner):
            raise RecipeError(f"method {self.method!r} is a loss term; put it under [[terms]], not in a rewrite step")
        return method

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.method}({options})"


class JoinedTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loss term that joins every training step of the recipe."""

    method: str
    options: dict[str, Any] = {}  # noqa: RUF012

    def loss(self) -> Term:
        """The method with its options; a :class:`RecipeError` when they are wrong."""
        method = method_with(self.method, self.options)
        if not isinstance(method, Term):
            raise RecipeError(f"method {self.method!r} rewrites the network; put it in a rewrite step, not under [[terms]]")
        return method


Step = Rewrite | Train


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ordered steps, and loss terms (against the network as it entered the recipe) that join every training step."""

    name: str
    steps: tuple[Step, ...] = ()
    terms: tuple[JoinedTerm, ...] = ()

    def __add__(self, other: Recipe) -> Recipe:
        return Recipe(f"{self.name} + {other.name}", self.steps + other.steps, self.terms + other.terms)

    def joined_by(self, method: str, options: dict[str, Any] | None = None) -> Recipe:
        """The same recipe with a loss term in every training step."""
        return Recipe(self.name, self.steps, (*self.terms, JoinedTerm(method, dict(options or {}))))

    def check(self) -> Recipe:
        """Builds every method once, so that a wrong option is found before anything runs; returns the recipe itself."""
        for number, step in enumerate(self.steps, 1):
            if isinstance(step, Rewrite):
                try:
                    step.planner()
                except RecipeError as error:
                    raise RecipeError(f"recipe {self.name!r}, step {number}: {error}") from error
        for term in self.terms:
            try:
                term.loss()
            except RecipeError as error:
                raise RecipeError(f"recipe {self.name!r}, terms: {error}") from error
        return self

    @classmethod
    def parse(cls, text: str, source: str = "recipe") -> Recipe:
        """Reads a recipe from TOML text; errors name the source, the step, the field and what was expected."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{source}: not valid TOML: {error}") from error
        try:
            recipe = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise RecipeError(f"{source}: {_readable(error, document)}") from error
        try:
            return recipe.check()
        except RecipeError as error:
            raise RecipeError(f"{source}: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Reads a recipe from a TOML file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read as a recipe: {error}") from error
        return cls.parse(text, str(path))

    def to_toml(self) -> str:
        """The recipe as TOML text that :meth:`parse` reads back."""
        return tomli_w.dumps(msgspec.to_builtins(self))


def method_with(name: str, options: dict[str, Any]) -> Any:
    """The catalogued method ``name`` with these options.

    Raises:
        RecipeError: unknown method, unknown option (lists the known ones), or a value of the wrong type or range.
    """
    entry = find(name)
    kind = entry.options
    assert is_dataclass(kind)
    known = [f.name for f in fields(kind)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise RecipeError(f"{entry.name}: unknown option {unknown[0]!r}; expected one of {', '.join(known)}")
    try:
        return msgspec.convert(options, kind)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, RecipeError):
            raise cause from error
        raise RecipeError(f"{entry.name}: {str(error).replace(' - at `$.', ' - in option `')}") from error


def _readable(error: msgspec.ValidationError, document: dict[str, Any]) -> str:
    """msgspec's message, its path spelt as in the file, with the fields that exist where one was unknown."""
    message, _, path = str(error).partition(" - at `$")
    place = path.strip("`.") or "the top level"
    if "unknown field" in message:
        known = Recipe.__struct_fields__
        if place.startswith("steps["):
            number = int(place[len("steps[") :].split("]")[0])
            step = document["steps"][number].get("step") if isinstance(document.get("steps"), list) else None
            known = (Train if step == "train" else Rewrite).__struct_fields__
        elif place.startswith("terms["):
            known = JoinedTerm.__struct_fields__
        return f"{place}: {message[0].lower()}{message[1:]}; expected one of {', '.join(known)}"
    return f"{place}: {message}"


@dataclass(frozen=True)
class StepRecord:
    """What a finished step did, for the report. ``validation`` is the task's metric after it; ``seconds`` wall-clock."""

    name: str
    kind: str
    what: str
    why: str
    validation: float
    seconds: float
    notes: dict[str, dict[str, float | int | str]]
    history: dict[str, list[float]]
