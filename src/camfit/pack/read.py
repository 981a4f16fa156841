"""``.camfit`` file -> the ops it was packed from, as docs/format.md says; the reverse of :mod:`camfit.pack.write`.

What is read here has passed the engine's checks first, which are the thorough ones.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from camfit import _native
from camfit.engine import Engine
from camfit.errors import FileError
from camfit.forms import Codebook, Form, Hashed, Masked, Sign
from camfit.pack.encode import CODEBOOK, DENSE, HALF, HASHED, ONE_HASH, SIGN, SPARSE, Payload
from camfit.pack.lower import Op, Weight
from camfit.pack.write import OPS

# How many attributes and weight references each op has; a later op or form gets its line here and in `_decode`.
_LAYOUT = {
    "conv2d": (13, 3),
    "linear": (2, 3),
    "binary_conv2d": (14, 3),
    "binary_linear": (3, 3),
    "max_pool": (8, 0),
    "avg_pool": (9, 0),
    "global_avg_pool": (0, 0),
    "add": (1, 0),
    "concat": (0, 0),
    "activation": (1, 0),
    "affine": (1, 2),
    "flatten": (0, 0),
    "softmax": (0, 0),
    "channel_shuffle": (1, 0),
    "quantize": (2, 0),
    "dequantize": (0, 0),
    "int8_conv2d": (15, 3),
    "int8_linear": (4, 3),
    "int8_add": (3, 0),
    "int8_global_avg_pool": (2, 0),
    "depth_to_space": (6, 0),
    "slice": (2, 0),
}
_OP_NAMES = {number: name for name, number in OPS.items()}
_HEADER, _SECTION = 16, 16

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Contents:
    """What a packed file says.

    Attributes:
        source: the file's name, for errors and comments.
        engine: the file, loaded with the plain kernels.
        scale, shift: of the input's channels: normalised = raw·scale + shift.
        info: the file's INFO section.
        ops: in execution order; op k reads values below k + 1 and gives value k + 1. Weights of one place in the file
            and one role are one object.
        shapes: (height, width, channels) of every value; value 0 is the input.
    """

    source: str
    engine: Engine
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    info: dict[str, Any]
    ops: list[Op]
    shapes: list[Shape]


def read(file: str | Path | bytes) -> Contents:
    """Reads a packed file.

    Args:
        file: its path or its bytes.

    Raises:
        FileError: the file is damaged or of another version, or holds a form or op that is not known here; names it.
    """
    engine = Engine(file, isa="plain", mode="memory")
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    _, nodes, table, blob = _sections(data)
    weights = _Table(engine.source, _Cursor(table), blob)
    cursor = _Cursor(nodes)
    input_shape = cursor.varint(), cursor.varint(), cursor.varint()
    pairs = struct.unpack(f"<{2 * input_shape[2]}f", cursor.take(8 * input_shape[2]))
    ops: list[Op] = []
    shapes: list[Shape] = [input_shape]
    for _ in range(cursor.varint()):
        op = _op(engine.source, cursor, weights)
        ops.append(op)
        shapes.append(output_shape(op, [shapes[number] for number in op.inputs]))
    return Contents(engine.source, engine, pairs[::2], pairs[1::2], engine.info, ops, shapes)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        self.place += count
        return self.data[self.place - count : self.place]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def varints(self, count: int) -> list[int]:
        return [self.varint() for _ in range(count)]


def _sections(data: bytes) -> list[bytes]:
    count = struct.unpack_from("<H", data, 10)[0]
    places = [struct.unpack_from("<II", data, _HEADER + _SECTION * i + 4) for i in range(count)]
    return [data[offset : offset + length] for offset, length in places]


def _op(source: str, cursor: _Cursor, weights: _Table) -> Op:
    number = cursor.byte()
    if number not in _OP_NAMES:
        raise FileError(f"{source}: op {number}: expected one of {', '.join(_OP_NAMES.values())}")
    kind = _OP_NAMES[number]
    name = cursor.take(cursor.varint()).decode()
    attribute_count, weight_count = _LAYOUT[kind]
    op = Op(kind, name, cursor.varints(cursor.byte()), cursor.varints(attribute_count))
    roles = ("scale", "bias") if kind == "affine" else ("weight", "scale", "bias")
    references = cursor.varints(weight_count)
    op.weights = [
        None if reference == 0 else weights.weight(reference - 1, role, name)
        for reference, role in zip(references, roles if weight_count else (), strict=True)
    ]
    return op


class _Table:
    """The weight table; a weight is decoded when an op asks for it."""

    def __init__(self, source: str, cursor: _Cursor, blob: bytes) -> None:
        self.source = source
        self.payloads: list[Payload] = []
        self.decoded: dict[tuple[int, str], Weight] = {}
        offset = 0
        for _ in range(cursor.varint()):
            form, rank = cursor.byte(), cursor.byte()
            shape, length = tuple(cursor.varints(rank)), cursor.varint()
            self.payloads.append(Payload(form, shape, blob[offset : offset + length], {}))
            offset += length

    def weight(self, number: int, role: str, layer: str) -> Weight:
        """The weight of this place, in one role."""
        if (number, role) not in self.decoded:
            try:
                self.decoded[number, role] = _decode(self.payloads[number], role, layer)
            except ValueError as error:
                raise FileError(f"{self.source}: layer {layer!r}: its {role}: {error}") from error
        return self.decoded[number, role]


def _decode(payload: Payload, role: str, layer: str) -> Weight:
    shape, data = payload.shape, payload.data
    if payload.form in (DENSE, HALF):
        values = np.frombuffer(data, "<f4" if payload.form == DENSE else "<f2").astype(np.float32).reshape(shape)
        return Weight(role, layer, torch.from_numpy(values))
    form, stored = _form(payload)
    dense: torch.Tensor = stored if isinstance(form, Sign) else form(stored)
    return Weight(role, layer, dense.float().contiguous(), form, stored)


def _form(payload: Payload) -> tuple[Form, torch.Tensor]:
    """A weight's form and its stored tensor."""
    shape, data = payload.shape, payload.data
    rows, columns = shape[0], int(np.prod(shape[1:]))
    if payload.form == CODEBOOK:
        index, values = _native.decode_codebook(data, rows, columns)
        return Codebook(torch.from_numpy(index.reshape(shape)), len(values)), torch.from_numpy(values)
    if payload.form == HASHED:
        seed, count = struct.unpack_from("<II", data)
        form = Hashed(shape, count & ~ONE_HASH, seed, hashes=1 if count & ONE_HASH else 2)
        return form, torch.from_numpy(np.frombuffer(data, "<f4", offset=8).copy())
    if payload.form == SIGN:
        # In double precision, so that the mean magnitude of a filter is its alpha again, to the last bit.
        alpha = np.frombuffer(data, "<f4", rows).astype(np.float64)
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=4 * rows), bitorder="little", count=rows * columns)
        signed = np.where(bits.reshape(rows, columns) == 1, alpha[:, None], -alpha[:, None])
        return Sign(), torch.from_numpy(signed.reshape(shape))
    if payload.form == SPARSE:
        (length,) = struct.unpack_from("<I", data)
        index, _ = _native.decode_codebook(data[4 : 4 + length], rows, columns)
        alive = index.reshape(shape) >= 0
        stored = np.zeros(shape, np.float32)
        stored[alive] = np.frombuffer(data, "<f4", offset=4 + length)
        return Masked(torch.from_numpy(alive)), torch.from_numpy(stored)
    raise ValueError(f"form {payload.form}, which is not known here")


def output_shape(op: Op, inputs: list[Shape]) -> Shape:
    """(height, width, channels) of what an op makes of inputs of these shapes."""
    height, width, channels = inputs[0]
    if op.op in ("conv2d", "binary_conv2d", "int8_conv2d"):
        cout, kh, kw, sh, sw, top, left, bottom, right, dh, dw = op.attributes[:11]
    elif op.op in ("max_pool", "avg_pool"):
        kh, kw, sh, sw, top, left, bottom, right = op.attributes[:8]
        cout, dh, dw = channels, 1, 1
    elif op.op in ("linear", "binary_linear", "int8_linear"):
        return 1, 1, op.attributes[0]
    elif op.op in ("global_avg_pool", "int8_global_avg_pool"):
        return 1, 1, channels
    elif op.op == "flatten":
        return 1, 1, height * width * channels
    elif op.op == "concat":
        return height, width, sum(shape[2] for shape in inputs)
    elif op.op == "depth_to_space":
        high, wide, top, left, bottom, right = op.attributes
        return height * high - top - bottom, width * wide - left - right, channels // (high * wide)
    elif op.op == "slice":
        return height, width, op.attributes[1]
    else:
        return inputs[0]
    return (
        (height + top + bottom - dh * (kh - 1) - 1) // sh + 1,
        (width + left + right - dw * (kw - 1) - 1) // sw + 1,
        cout,
    )
