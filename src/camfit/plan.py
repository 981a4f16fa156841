"""What a method wants done to a network, as data: printable, comparable, saved, checked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from camfit.forms import Form


@dataclass(frozen=True)
class KeepChannels:
    """Keep only these channels of a group (named by :class:`camfit.graph.Graph`); the rest are removed everywhere."""

    group: str
    keep: tuple[int, ...]

    def __str__(self) -> str:
        return f"keep {len(self.keep)} channels of group {self.group!r}"


@dataclass(frozen=True, eq=False)
class Constrain:
    """The layer's weight lives in ``form`` from now on.

    ``stored`` is the initial stored tensor (centroids, buckets, latent weight); None takes the present weight.
    """

    layer: str
    form: Form
    stored: Tensor | None = None

    def __str__(self) -> str:
        return f"constrain {self.layer!r} to form {self.form.name}"


@dataclass(frozen=True, eq=False)
class Replace:
    """Put another layer at this path. It has the old one's inputs and output shape, and takes over no values.

    A masked weight may be replaced by one under a mask that revives nothing; any other form would be lost.
    """

    layer: str
    by: nn.Module

    def __str__(self) -> str:
        return f"replace {self.layer!r} by {_named(self.by)}"


@dataclass(frozen=True, eq=False)
class Factorise:
    """Put a chain of one-input layers in the place of one, at each of its calls.

    ``factors`` are (name, layer) in order of execution; their paths are ``layer.name``. The first has the old layer's
    input channels, the last its output channels. They take over no values, and no form of a weight.
    """

    layer: str
    factors: tuple[tuple[str, nn.Module], ...]

    def __str__(self) -> str:
        return f"factorise {self.layer!r} into {', '.join(f'{name} {_named(layer)}' for name, layer in self.factors)}"


@dataclass(frozen=True, eq=False)
class Insert:
    """Put a new one-input layer, called ``name``, before the layer ``before``."""

    before: str
    name: str
    layer: nn.Module

    def __str__(self) -> str:
        return f"insert {self.name!r} ({_named(self.layer)}) before {self.before!r}"


@dataclass(frozen=True, eq=False)
class Append:
    """Put a new one-input layer, called ``name``, behind the call ``after`` (or ``"input"``): its readers read it."""

    after: str
    name: str
    layer: nn.Module

    def __str__(self) -> str:
        return f"append {self.name!r} ({_named(self.layer)}) behind {self.after!r}"


@dataclass(frozen=True)
class Remove:
    """Take a one-input layer out; its readers read its input."""

    layer: str

    def __str__(self) -> str:
        return f"remove {self.layer!r}"


@dataclass(frozen=True)
class DropBranch:
    """Take input number ``branch`` (from 0) off the addition or concatenation called ``join``.

    An addition's readers read its other input; a concatenation's lose the branch's channels. Layers that served the
    branch alone go with it: a residual block becomes the identity.
    """

    join: str
    branch: int

    def __str__(self) -> str:
        return f"drop branch {self.branch} of {self.join!r}"


@dataclass(frozen=True, eq=False)
class SetValues:
    """Set a parameter or buffer, named as in ``state_dict`` of the dense network (``conv1.weight``)."""

    name: str
    values: Tensor

    def __str__(self) -> str:
        return f"set {self.name!r} {list(self.values.shape)}"


def _named(layer: nn.Module) -> str:
    """The layer on one line, whatever the form of its weight."""
    return f"{type(layer).__name__.removeprefix('Parametrized')}({layer.extra_repr()})"


Edit = KeepChannels | Constrain | Replace | Factorise | Insert | Append | Remove | DropBranch | SetValues


@dataclass(frozen=True, eq=False)
class Plan:
    """Edits in the order of their application, and why.

    Attributes:
        method: name of the method that made the plan.
        edits: what to do.
        reason: one sentence for the report.
        notes: figures for the report, by layer or group: what was measured or decided there.
        curves: sensitivity for the report, by group of channels or by layer: (share of its channels or weights removed,
            mean loss on the calibration images when it alone is cut so far, without retraining).
    """

    method: str
    edits: tuple[Edit, ...]
    reason: str = ""
    notes: dict[str, dict[str, float | int | str]] = field(default_factory=dict)
    curves: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits)

    def __len__(self) -> int:
        return len(self.edits)

    def __str__(self) -> str:
        lines = [f"{self.method}: {self.reason}" if self.reason else self.method]
        return "\n".join([*lines, *(f"  {edit}" for edit in self.edits)])
