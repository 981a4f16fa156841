"""An entry, ready to run in one engine: all are called the same way, from Python, and hold their input already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from camfit import _native
from camfit.bench import plain_loop
from camfit.bench.peers import Case, Peer
from camfit.bench.subjects import SEED, Entry
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.pack import pack
from camfit.pack.onnx import to_onnx

TOLERANCE = 1e-4  # of camfit and the plain loop; the peers have their own
_EXAMPLES = 32


@dataclass(frozen=True)
class Contender:
    """Attributes:
    name: engine, and what sets it apart from others of the same subject.
    call: one run.
    output: of one run, in torch's order ([C, H, W] or [F]).
    expected: the same from torch, in float.
    file_bytes: of the file that the engine loads; 0 where there is none.
    tolerance: the largest error of a right output.
    exact: for integers, the output of the plain kernels; an integer network has one right output, and rounding sets it
        apart from torch's.
    """

    name: str
    call: Callable[[], object]
    output: Callable[[], np.ndarray]
    expected: np.ndarray
    file_bytes: int
    tolerance: float = TOLERANCE
    exact: np.ndarray | None = None

    def error(self) -> float:
        """The largest difference from torch's output, as a share of the largest output; not a number where it is none.

        Raises:
            CamfitError: the output has another shape.
        """
        return self._off(self.expected)

    def wrong(self) -> float:
        """By how much the output is off what it must be: that of the plain kernels for integers, else torch's."""
        return self._off(self.expected if self.exact is None else self.exact)

    def _off(self, right: np.ndarray) -> float:
        found = self.output()
        if found.size != right.size:
            raise CamfitError(f"{self.name}: output of shape {found.shape}, expected {right.shape}")
        largest = float(np.abs(right).max())
        return float(np.abs(found.reshape(right.shape) - right).max()) / max(largest, 1e-30)


def of_camfit(entry: Entry, threads: int, isas: Sequence[str] = ("auto",)) -> list[Contender]:
    """The entry in camfit's engine, once for each of ``isas``, the instruction sets to force.

    Raises:
        CamfitError: the network cannot be packed, or the processor lacks an instruction set.
    """
    channels = entry.network.input_shape[0]
    data = pack(entry.network, Normalisation((1.0,) * channels, (0.0,) * channels)).data
    image = np.ascontiguousarray(entry.image[0].permute(1, 2, 0).numpy())  # the engine takes channels last
    exact = None if entry.rounded_from is None else _run(_engine(data, 1, "plain"), image, entry)
    return [_camfit(entry, data, image, threads, isa, exact) for isa in isas]


def _camfit(
    entry: Entry, data: bytes, image: np.ndarray, threads: int, isa: str, exact: np.ndarray | None
) -> Contender:
    engine = _engine(data, threads, isa)
    name = named("camfit" if isa == "auto" else f"camfit {isa}", entry.name)
    return Contender(
        name, lambda: engine.run(image), lambda: _run(engine, image, entry), entry.expected().numpy(), len(data),
        exact=exact,
    )  # fmt: skip


def _engine(data: bytes, threads: int, isa: str) -> _native.Engine:
    try:
        return _native.Engine(data, threads, "speed", isa)
    except ValueError as error:
        raise CamfitError(f"camfit: {error}") from error


def _run(engine: _native.Engine, image: np.ndarray, entry: Entry) -> np.ndarray:
    """The output in torch's order."""
    found = np.asarray(engine.run(image))
    if entry.expected().ndim == 1:
        return found
    return np.asarray(np.moveaxis(found.reshape(engine.output_shape), 2, 0))


def of_peer(entry: Entry, peer: Peer, threads: int, folder: Path) -> Contender:
    """The entry in another runtime, as a dense float network. Raises whatever the runtime does."""
    generator = torch.Generator().manual_seed(SEED)
    examples = torch.rand(_EXAMPLES, *entry.network.input_shape, generator=generator).numpy()
    image = np.ascontiguousarray(entry.image.numpy())
    loaded = peer.load(Case(to_onnx(entry.network), entry.network, image, examples, threads, folder))
    expected: np.ndarray = entry.expected().numpy()
    name = named(peer.name, entry.name)
    return Contender(name, loaded.call, loaded.output, expected, loaded.file_bytes, peer.tolerance)


def of_plain_loop(entry: Entry) -> Contender:
    """The entry's one convolution in C, compiled here and now.

    Raises:
        CamfitError: there is no C compiler.
    """
    expected: np.ndarray = entry.expected().numpy()
    call, output = plain_loop.prepare(entry.network, entry.image[0], expected.shape)
    return Contender(named("plain C loop", entry.name), call, output, expected, 0)


def named(engine: str, variant: str) -> str:
    """Engine and what sets its entry apart."""
    name, comma, rest = engine.partition(", ")
    return f"{name}, {variant}{comma}{rest}" if variant else engine
