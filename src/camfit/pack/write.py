"""The bytes of a ``.camfit`` file, section by section; docs/format.md is the contract."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable

from camfit.pack.encode import Payload

MAGIC = b"\x89camfit\n"
OPS = {
    "conv2d": 1,
    "linear": 2,
    "binary_conv2d": 3,
    "binary_linear": 4,
    "max_pool": 5,
    "avg_pool": 6,
    "global_avg_pool": 7,
    "add": 8,
    "concat": 9,
    "activation": 10,
    "affine": 11,
    "flatten": 12,
    "softmax": 13,
    "channel_shuffle": 14,
    "quantize": 15,
    "dequantize": 16,
    "int8_conv2d": 17,
    "int8_linear": 18,
    "int8_add": 19,
    "int8_global_avg_pool": 20,
    "depth_to_space": 21,
    "slice": 22,
}


def varint(value: int) -> bytes:
    """Unsigned LEB128 of a number below 2³²."""
    if not 0 <= value < 1 << 32:
        raise ValueError(f"varint of {value}: expected 0 to 2^32 - 1")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varints(values: Iterable[int]) -> bytes:
    """Several varints, one after the other."""
    return b"".join(varint(value) for value in values)


def node(op: str, name: str, inputs: list[int], attributes: list[int], references: list[int]) -> bytes:
    """One node of the NODE section; a reference is 0 for none, else 1 + the weight's place in the table."""
    label = name.encode()[:255].decode(errors="ignore").encode()
    head = bytes([OPS[op]]) + varint(len(label)) + label + bytes([len(inputs)])
    return head + varints(inputs) + varints(attributes) + varints(references)


def weight_record(payload: Payload) -> bytes:
    """One line of the weight table."""
    return bytes([payload.form, len(payload.shape)]) + varints([*payload.shape, len(payload.data)])


def file_bytes(
    input_shape: tuple[int, int, int],
    scale: tuple[float, ...],
    shift: tuple[float, ...],
    nodes: list[bytes],
    payloads: list[Payload],
    info: dict[str, object],
) -> bytes:
    """The whole file. ``input_shape`` is (height, width, channels); normalised = raw·scale + shift per channel.

    Its version is the first that has all of its payloads, so that older engines read what they can.
    """
    normalisation = b"".join(struct.pack("<ff", a, b) for a, b in zip(scale, shift, strict=True))
    # In pieces, which are joined once: a network's weights may take a good part of the memory.
    sections = (
        (b"INFO", [json.dumps(info, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()]),
        (b"NODE", [varints(input_shape) + normalisation + varint(len(nodes)), *nodes]),
        (b"WGHT", [varint(len(payloads)), *(weight_record(payload) for payload in payloads)]),
        (b"BLOB", [payload.data for payload in payloads]),
    )
    offset = len(MAGIC) + 2 + 2 + 4 + 16 * len(sections) + 4
    total = offset + sum(len(piece) for _, pieces in sections for piece in pieces)
    head = MAGIC + struct.pack("<HHI", max((p.version for p in payloads), default=1), len(sections), total)
    for tag, pieces in sections:
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        length = sum(map(len, pieces))
        head += tag + struct.pack("<III", offset, length, crc)
        offset += length
    return b"".join([head, struct.pack("<I", zlib.crc32(head)), *(piece for _, pieces in sections for piece in pieces)])
