"""A recipe: ordered steps that rewrite or train a network. Readable from TOML; recipes join with ``+``.

recipe = Recipe("slim", (Rewrite("l1-filters", {"ratio": 0.3}), Train(epochs=3))) + Recipe.read("deep.toml")
recipe = recipe.joined_by("soft-targets", {"temperature": 4.0})
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

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
    options: dict[str, Any] = {}  # msgspec copies an empty default

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
    options: dict[str, Any] = {}

    def loss(self) -> Term:
        """The method with its options; a :class:`RecipeError` when they are wrong."""
        method = method_with(self.method, self.options)
        if not isinstance(method, Term):
            raise RecipeError(f"method {self.method!r} rewrites the network; put it into a step, not under [[terms]]")
        return method


class Repeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="repeat", tag_field="step"):
    """Steps in order, several times: rank, remove, fine-tune, and again.

    Each round's rewrites look at the network as the round before left it, so fractions are of what is there then.

    Attributes:
        times: rounds.
        steps: of each round.
    """

    times: int
    steps: tuple[Rewrite | Train, ...]

    def __post_init__(self) -> None:
        if self.times < 1 or not self.steps:
            raise ValueError(f"times is {self.times} with {len(self.steps)} steps, expected 1 or more of both")

    def __str__(self) -> str:
        return f"{self.times} times: {', then '.join(map(str, self.steps))}"


Step = Rewrite | Train | Repeat


class Placed(msgspec.Struct, frozen=True):
    """A rewrite or training as it is run, where the recipe says so (``3``, or ``3.1 (round 2)``) and in which round."""

    place: str
    step: Rewrite | Train
    turn: int = 1


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
        for placed in self.in_order(rounds=1):
            if isinstance(placed.step, Rewrite):
                try:
                    placed.step.planner()
                except RecipeError as error:
                    raise RecipeError(f"recipe {self.name!r}, step {placed.place}: {error}") from error
        for term in self.terms:
            try:
                term.loss()
            except RecipeError as error:
                raise RecipeError(f"recipe {self.name!r}, terms: {error}") from error
        return self

    def in_order(self, rounds: int | None = None) -> tuple[Placed, ...]:
        """Every rewrite and training as it is run, those that repeat once for each round (or for so many rounds)."""
        order: list[Placed] = []
        for number, step in enumerate(self.steps, 1):
            if not isinstance(step, Repeat):
                order.append(Placed(str(number), step))
                continue
            for turn in range(1, (rounds or step.times) + 1):
                said = "" if rounds == 1 else f" (round {turn})"
                order += [Placed(f"{number}.{n}{said}", inner, turn) for n, inner in enumerate(step.steps, 1)]
        return tuple(order)

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

    @classmethod
    def of(cls, method: str, options: dict[str, Any] | None = None, training: Train | None = None) -> Recipe:
        """One method, then training; a loss term joins that training.

        Raises:
            RecipeError: no such method or option, a value that it does not take, or a loss term without training.
        """
        entry = find(method)
        steps = () if training is None else (training,)
        if issubclass(entry.options, Term):
            if training is None:
                raise RecipeError(f"{entry.name} is a loss term, expected training that it can join")
            return cls(entry.name, steps).joined_by(entry.name, options).check()
        return cls(entry.name, (Rewrite(entry.name, dict(options or {})), *steps)).check()

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
        message, _, option = str(error).partition(" - at `$.")
        raise RecipeError(f"{entry.name}: option {option.rstrip('`')}: {message}{_choices(kind, option)}") from error


def _readable(error: msgspec.ValidationError, document: dict[str, Any]) -> str:
    """msgspec's message with the step counted from 1 as everywhere, and with what exists where a name was unknown."""
    message, _, path = str(error).partition(" - at `$")
    message = message[0].lower() + message[1:]
    found = re.fullmatch(r"\.?(?:(steps|terms)\[(\d+)\])?\.?(?:steps\[(\d+)\])?\.?(.*?)`?", path)
    assert found is not None
    kind, number, inner, field = found[1], int(found[2] or 0), found[3], found[4]
    inside = "" if inner is None else f".{int(inner) + 1}"
    place = [f"{kind.removesuffix('s')} {number + 1}{inside}"] if kind else []
    if field:
        place.append(f"field {field}")
    known: tuple[str, ...] = ()
    if "unknown field" in message:
        known = Recipe.__struct_fields__
        if kind == "steps":
            step = document["steps"][number]
            step = step if inner is None else step["steps"][int(inner)]
            kinds = {"train": Train, "repeat": Repeat}
            known = ("step", *kinds.get(step.get("step"), Rewrite).__struct_fields__)
        elif kind == "terms":
            known = JoinedTerm.__struct_fields__
    elif field == "step" or "required field `step`" in message:
        known = ("rewrite", "train") if inner is not None else ("rewrite", "train", "repeat")
    expected = f"; expected one of {', '.join(known)}" if known else _choices(Train, field)
    return f"{', '.join(place) or 'the top level'}: {message}{expected}"


def _choices(kind: type, field: str) -> str:
    """What a field that takes one of several words expects; nothing for other fields."""
    choices = get_args(get_type_hints(kind).get(field.rstrip("`")))
    words = [choice for choice in choices if isinstance(choice, str)]
    return f"; expected one of {', '.join(words)}" if words else ""
