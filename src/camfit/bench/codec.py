"""What each entropy coder makes of a compressed network: bytes and load time, layer by layer and for the whole file.

The coders: ``bits`` (relative indices and codes of fixed width), ``huffman`` (the same in Huffman codes, as in Deep
Compression) and ``range`` (context-modelled, the default). All must give the same weights and outputs, or nothing is
printed. A layer's load time is that of decoding its codes; the file's is that of making an engine of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from camfit import _native
from camfit.bench.interleave import interleave
from camfit.bench.page import table
from camfit.data import Normalisation
from camfit.errors import CamfitError
from camfit.network import Network
from camfit.pack import CODERS, pack
from camfit.pack.encode import CODEBOOK, SPARSE, Payload, encode
from camfit.pack.lower import Weight, lower


@dataclass(frozen=True)
class Line:
    """One layer, or the whole file: bytes and milliseconds to load, by coder."""

    name: str
    what: str
    sizes: dict[str, int]
    loads: dict[str, float]


def measure(network: Network, *, half: bool, seconds: float) -> list[Line]:
    """One line for every layer that a coder writes, then one for the file.

    Raises:
        CamfitError: no layer is shared or sparse, or the coders disagree.
    """
    lines = [_layer(weight, half, seconds) for weight in _coded(network, half)]
    if not lines:
        raise CamfitError("no layer has a codebook or zeros: there is nothing for a coder to do")
    return [*lines, _file(network, half, seconds)]


def _coded(network: Network, half: bool) -> list[Weight]:
    """The weights whose payload every coder writes, those of shared layers once."""
    weights = {w.layer: w for op in lower(network) for w in op.weights if w is not None and w.role == "weight"}
    return [w for w in weights.values() if {encode(w, coder=c, half=half).form for c in CODERS} <= {CODEBOOK, SPARSE}]


def _layer(weight: Weight, half: bool, seconds: float) -> Line:
    payloads = {coder: encode(weight, coder=coder, half=half) for coder in CODERS}
    rows = weight.values.shape[0]
    decode = {
        coder: partial(_native.decode_codebook, _codes(payload), rows, weight.values[0].numel())
        for coder, payload in payloads.items()
    }
    decoded = {coder: call() for coder, call in decode.items()}
    index, codebook = decoded["bits"]
    for coder, (other_index, other_codebook) in decoded.items():
        if not (np.array_equal(index, other_index) and np.array_equal(codebook, other_codebook)):
            raise CamfitError(f"layer {weight.layer!r}: the coder {coder!r} gives back other weights than 'bits'")
    kept = int((index >= 0).sum())
    what = f"{kept:,} of {index.size:,} weights"
    if payloads["range"].form == CODEBOOK:
        what += f", {len(codebook)} values"
    return Line(weight.layer, what, {c: len(p.data) for c, p in payloads.items()}, _milliseconds(decode, seconds))


def _codes(payload: Payload) -> bytes:
    """The codebook payload inside; a sparse weight's holds its positions behind a length."""
    if payload.form == CODEBOOK:
        return payload.data
    return payload.data[4 : 4 + int.from_bytes(payload.data[:4], "little")]


def _file(network: Network, half: bool, seconds: float) -> Line:
    channels = network.input_shape[0]
    unit = Normalisation((1.0,) * channels, (0.0,) * channels)
    files = {coder: pack(network, unit, coder=coder, half=half).data for coder in CODERS}
    load = {coder: partial(_native.Engine, data) for coder, data in files.items()}
    outputs = {}
    for coder, call in load.items():
        engine = call()
        image = np.random.default_rng(0).random(engine.input_shape, dtype=np.float32)
        outputs[coder] = np.asarray(engine.run(image))
        if not np.array_equal(outputs[coder], outputs["bits"]):
            raise CamfitError(f"the file of the coder {coder!r} gives other outputs than that of 'bits'")
    return Line("whole file", "", {c: len(data) for c, data in files.items()}, _milliseconds(load, seconds))


def _milliseconds(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Medians, the coders taking turns."""
    times = interleave(list(calls.values()), seconds, rounds=5)
    return {coder: float(np.median(time.all)) for coder, time in zip(calls, times, strict=True)}


def render(lines: list[Line]) -> str:
    """A Markdown table."""
    head = ["layer", "", *(f"{c} bytes" for c in CODERS), "range / huffman", *(f"{c} ms" for c in CODERS)]
    return "\n".join(table(head, map(_cells, lines)))


def _cells(line: Line) -> list[str]:
    sizes, loads = [line.sizes[c] for c in CODERS], [line.loads[c] for c in CODERS]
    share = f"{line.sizes['range'] / line.sizes['huffman']:.3f}"
    return [line.name, line.what, *(f"{s:,}" for s in sizes), share, *(f"{ms:.3f}" for ms in loads)]
