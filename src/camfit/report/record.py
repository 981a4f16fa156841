"""What a report is made from: the content of report.json as types. Sections that a run does not have are None or empty.

Accuracies are fractions of 1, times milliseconds, sizes bytes. A ``basis`` says where a figure was measured
(``"the file"``, ``"validation"``); the word "estimate" in it puts an estimate mark beside the figure.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from camfit.errors import RunError


class Model(msgspec.Struct, frozen=True):
    """The network that was given."""

    name: str
    input_shape: tuple[int, ...] | None = None
    parameters: int | None = None


class Data(msgspec.Struct, frozen=True):
    """The data set; train, val and test count samples."""

    name: str
    classes: tuple[str, ...] = ()
    train: int | None = None
    val: int | None = None
    test: int | None = None
    fingerprint: str | None = None


class Budget(msgspec.Struct, frozen=True):
    """The limits asked for: bytes, milliseconds, points of the metric."""

    max_size: float | None = None
    max_latency: float | None = None
    max_drop: float | None = None


class Limit(msgspec.Struct, frozen=True):
    """One limit and what was delivered, in ``unit``: bytes, ms or points."""

    limit: str
    unit: str
    budget: float
    met: bool
    delivered: float | None = None
    basis: str | None = None


class Measured(msgspec.Struct, frozen=True):
    """A packed file as measured: on disk, and run by the engine over the test images."""

    accuracy: float | None = None
    bytes: float | None = None
    ms_median: float | None = None
    ms_p95: float | None = None
    threads: int | None = None
    peak_bytes: float | None = None
    macs: float | None = None
    params: float | None = None


class Validation(msgspec.Struct, frozen=True):
    """The engine's metric on validation data: what the search and the limit on the drop look at."""

    before: float | None = None
    after: float | None = None


class LayerSide(msgspec.Struct, frozen=True):
    """One layer before or after: how its weights are stored and what it costs."""

    form: str | None = None
    bytes: float | None = None
    macs: float | None = None
    ms: float | None = None
    weights: float | None = None
    entries: int | None = None


class Layer(msgspec.Struct, frozen=True):
    """A layer; a side is None when the layer did not exist there."""

    name: str
    op: str = ""
    before: LayerSide | None = None
    after: LayerSide | None = None


class Step(msgspec.Struct, frozen=True):
    """A step of the recipe: what it did, why, and the validation metric after it.

    curves: by group of channels or layer, (share removed, loss) when it alone is cut.
    """

    name: str
    kind: str = ""
    what: str = ""
    why: str = ""
    validation: float | None = None
    bytes: float | None = None
    seconds: float | None = None
    basis: str | None = None
    notes: dict[str, Any] = {}
    curves: dict[str, tuple[tuple[float, float | None], ...]] = {}
    history: dict[str, tuple[float | None, ...]] = {}


class Trial(msgspec.Struct, frozen=True):
    """A candidate that the search tried: rung, setting, size and validation metric."""

    name: str
    density: float | None = None
    bytes: float | None = None
    validation: float | None = None
    ms: float | None = None
    met: bool | None = None
    chosen: bool = False
    basis: str | None = None


class Record(msgspec.Struct, frozen=True):
    """A whole run. Only the fields without a default must be there."""

    camfit: str
    model: Model
    data: Data
    before: Measured
    after: Measured
    kind: str = "run"
    command: str | None = None
    seed: int | None = None
    seconds: float | None = None
    versions: dict[str, str] | None = None
    machine: dict[str, Any] | None = None
    metric: str = "accuracy"
    budget: Budget | None = None
    verdict: tuple[Limit, ...] | None = None
    validation: Validation | None = None
    float32_bytes: float | None = None
    layers: tuple[Layer, ...] | None = None
    bytes: dict[str, float] | None = None
    coders: dict[str, float] | None = None
    steps: tuple[Step, ...] | None = None
    trials: tuple[Trial, ...] | None = None
    sensitivity: dict[str, tuple[tuple[float, float | None], ...]] | None = None
    reproduce: tuple[str, ...] | None = None

    @property
    def missed(self) -> tuple[Limit, ...]:
        """The limits that were not met."""
        return tuple(limit for limit in self.verdict or () if not limit.met)


def _finite(value: Any) -> Any:
    """The same value with None in place of NaN and infinity, which JSON from a broken-down training can hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse(record: dict[str, Any], source: str) -> Record:
    """The record as types; ``source`` names it in errors.

    Raises:
        RunError: a field is missing or of the wrong type; the message names the field.
    """
    try:
        return msgspec.convert(_finite(record), Record)
    except msgspec.ValidationError as error:
        raise RunError(f"{source}: not the record of a run: {error}") from error
