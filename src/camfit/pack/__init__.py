"""Network -> ``.camfit`` file: lower the graph, write each weight in its form, entropy-code it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camfit.data import Normalisation
from camfit.errors import ModelError
from camfit.network import Network
from camfit.pack.encode import CODERS, Payload, decisions, encode
from camfit.pack.lower import Weight, lower
from camfit.pack.write import file_bytes, node
from camfit.storage import write_atomically

__all__ = ["CODERS", "Packed", "pack"]

# Up to so many binary decisions "auto" takes the range coder. They take about 20 ms to decode (docs/engine.md).
_FEW_DECISIONS = 1_500_000


@dataclass(frozen=True)
class Packed:
    """A packed network.

    Attributes:
        data: the file's bytes.
        parts: where they went, in bytes: ``codes``, ``indices``, ``codebooks``, ``values``, ``biases and scales``, ...
            and ``graph and header``. They add up to the file's length.
        layers: stored bytes of each layer's weights, scale and bias.
    """

    data: bytes
    parts: dict[str, int]
    layers: dict[str, int]

    def save(self, path: str | Path) -> Path:
        """Writes the file atomically."""
        write_atomically(Path(path), self.data)
        return Path(path)


def pack(
    network: Network,
    normalisation: Normalisation,
    *,
    info: dict[str, object] | None = None,
    coder: str = "auto",
    half: bool = False,
) -> Packed:
    """Packs a network. Same arguments, same bytes.

    Args:
        network: in any mix of forms; batch-norm is folded, dropout dropped.
        normalisation: of the raw images; stored, so that the engine takes raw pixels.
        info: what people should find in the file (model, data, classes); stored as JSON.
        coder: entropy coder of codebook and sparse weights: ``range`` (context-modelled, the smallest), ``fast``
            (static codes: loads tens of times as fast and is about 1 % larger), ``huffman`` (the Deep Compression
            paper's) or ``bits`` (the same without Huffman codes). The default ``auto`` is ``range`` for a network that
            it decodes in about 20 ms or less, else ``fast``.
        half: store biases, scales and codebooks as binary16. Their rounding (2⁻¹¹ relative) is the only change to
            values that packing can make.

    Raises:
        ModelError: a layer that the engine has no op for, or too large a file.
    """
    if coder not in ("auto", *CODERS):
        raise ModelError(f"coder {coder!r}: expected one of auto, {', '.join(CODERS)}")
    channels, height, width = network.input_shape if len(network.input_shape) == 3 else (network.input_shape[0], 1, 1)
    if len(normalisation.scale) != channels:
        raise ModelError(f"normalisation of {len(normalisation.scale)} channels; the network's input has {channels}")
    payloads: list[Payload] = []
    nodes: list[bytes] = []
    parts: dict[str, int] = {}
    layers: dict[str, int] = {}
    seen: dict[tuple[str, str, bytes], int] = {}
    ops = lower(network)
    if coder == "auto":
        # Weights of a layer in use twice count once.
        cost = {(w.layer, w.role): decisions(w) for op in ops for w in op.weights if w is not None}
        coder = "range" if sum(cost.values()) <= _FEW_DECISIONS else "fast"
    for op in ops:
        references = []
        for weight in op.weights:
            references.append(0 if weight is None else 1 + _place(weight, seen, payloads, coder, half, parts, layers))
        nodes.append(node(op.op, op.name, op.inputs, op.attributes, references))
    data = file_bytes(
        (height, width, channels), normalisation.scale, normalisation.shift, nodes, payloads, dict(info or {})
    )
    parts["graph and header"] = len(data) - sum(parts.values())
    return Packed(data, parts, layers)


def _place(
    weight: Weight,
    seen: dict[tuple[str, str, bytes], int],
    payloads: list[Payload],
    coder: str,
    half: bool,
    parts: dict[str, int],
    layers: dict[str, int],
) -> int:
    """The weight's place in the table; equal weights of a shared layer are stored once."""
    key = (weight.layer, weight.role, hashlib.blake2b(np.ascontiguousarray(weight.values.numpy()).data).digest())
    if key not in seen:
        payload = encode(weight, coder=coder, half=half)
        seen[key] = len(payloads)
        payloads.append(payload)
        layers[weight.layer] = layers.get(weight.layer, 0) + len(payload.data)
        for name, size in payload.parts.items():
            parts[name] = parts.get(name, 0) + size
    return seen[key]
