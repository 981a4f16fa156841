"""A small writer of the .camfit format in plain Python, written from docs/format.md alone.

It is the engine tests' second, independent implementation of the format: it shares no code with the packer or the
engine. Every part of a file can be overridden, so that tests can also write files that break one rule at a time.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MAGIC = b"\x89camfit\n"
HEADER_SIZE = 84

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
NONE, RELU, RELU6 = 0, 1, 2
DENSE, HALF, CODEBOOK, HASHED, SIGN, SPARSE = range(6)


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass
class Weight:
    form: int
    shape: tuple[int, ...]
    payload: bytes

    def entry(self) -> bytes:
        dimensions = b"".join(varint(d) for d in self.shape)
        return bytes([self.form, len(self.shape)]) + dimensions + varint(len(self.payload))


def dense(values: np.ndarray) -> Weight:
    return Weight(DENSE, values.shape, np.ascontiguousarray(values, "<f4").tobytes())


def half(values: np.ndarray) -> Weight:
    return Weight(HALF, values.shape, np.ascontiguousarray(values, "<f2").tobytes())


def hashed(shape: tuple[int, ...], seed: int, buckets: np.ndarray, *, one_hash: bool = False) -> Weight:
    """With one hash for version 3."""
    head = struct.pack("<II", seed, len(buckets) | one_hash << 31)
    return Weight(HASHED, shape, head + np.ascontiguousarray(buckets, "<f4").tobytes())


def sign(alpha: np.ndarray, signs: np.ndarray) -> Weight:
    """signs: an array of the weight's shape; positive entries (and zeros) are +1."""
    bits = np.packbits(signs.ravel() >= 0, bitorder="little").tobytes()
    return Weight(SIGN, signs.shape, np.ascontiguousarray(alpha, "<f4").tobytes() + bits)


def bits_payload(index: np.ndarray, codebook: np.ndarray) -> bytes:
    """A codebook payload in its plainest shape: gaps of 16 bits and codes of fixed width, for up to 65536 positions.

    index: -1 where the weight is pruned, else its code.
    """
    flat = index.ravel()
    places = np.flatnonzero(flat >= 0)
    head = bytes([1 << 6]) + varint(len(codebook)) + varint(len(places)) + np.asarray(codebook, "<f4").tobytes()
    if len(places) == 0:
        return head
    width = (len(codebook) - 1).bit_length()
    gaps = np.diff(places, prepend=-1) - 1
    bits = "".join(
        f"{gap:016b}" + (f"{code:0{width}b}" if width else "") for gap, code in zip(gaps, flat[places], strict=True)
    )
    bits += "0" * (-len(bits) % 8)
    return head + bytes([16]) + varint(0) + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def fast_payload(index: np.ndarray, codebook: np.ndarray) -> bytes:
    """A codebook payload of coder 2 in fixed width: a byte for each gap, then the codes, lowest bit first."""
    flat = index.ravel()
    places = np.flatnonzero(flat >= 0)
    full = len(places) == len(flat)
    head = bytes([2 | full << 5]) + varint(len(codebook)) + (b"" if full else varint(len(places)))
    head += np.asarray(codebook, "<f4").tobytes()
    if len(places) == 0:
        return head
    gaps: list[int] = []
    for gap in np.diff(places, prepend=-1) - 1:
        gaps += [255] * (gap // 255) + [gap % 255]
    width = (len(codebook) - 1).bit_length()
    bits = (flat[places][:, None] >> np.arange(width) & 1).astype(np.uint8)
    codes = np.packbits(bits.ravel(), bitorder="little").tobytes()
    return head + (codes if full else varint(len(gaps) - len(places)) + bytes(gaps) + codes)


def integers(values: np.ndarray) -> Weight:
    """Integers of -127..127 as a codebook of the values that occur; zeros are pruned weights."""
    kept = np.unique(values[values != 0]) if np.any(values) else np.ones(1)
    index = np.where(values == 0, -1, np.searchsorted(kept, values))
    return Weight(CODEBOOK, values.shape, bits_payload(index, kept))


def level(scale: float, zero: int) -> list[int]:
    """The attributes that say what bytes stand for; a scale of 0: float32."""
    return [struct.unpack("<I", struct.pack("<f", scale))[0], zero]


@dataclass
class Node:
    op: int
    inputs: Sequence[int]
    attributes: Sequence[int] = ()
    weights: Sequence[Weight | None] = ()
    name: str = ""

    def encode(self, table: list[Weight]) -> bytes:
        name = self.name.encode()
        out = bytes([self.op]) + varint(len(name)) + name + bytes([len(self.inputs)])
        out += b"".join(varint(i) for i in self.inputs) + b"".join(varint(a) for a in self.attributes)
        for weight in self.weights:
            if weight is None:
                out += varint(0)
                continue
            places = [i for i, known in enumerate(table) if known is weight]
            if not places:
                places = [len(table)]
                table.append(weight)
            out += varint(1 + places[0])
        return out


@dataclass
class Net:
    """A network under construction. Methods that add a node return the id of its value; value 0 is the input."""

    shape: tuple[int, int, int]
    scale: Sequence[float] = ()
    shift: Sequence[float] = ()
    info: bytes = b"{}"
    version: int = 1
    nodes: list[Node] = field(default_factory=list)

    def add_node(
        self,
        op: str,
        inputs: Sequence[int] | int | None = None,
        attributes: Sequence[int] = (),
        weights: Sequence[Weight | None] = (),
        name: str | None = None,
    ) -> int:
        if inputs is None:
            inputs = len(self.nodes)
        sources = [inputs] if isinstance(inputs, int) else list(inputs)
        title = f"{op}{len(self.nodes)}" if name is None else name
        self.nodes.append(Node(OPS[op], sources, attributes, weights, title))
        return len(self.nodes)

    def conv2d(
        self,
        weight: Weight,
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        activation: int = NONE,
        scale: Weight | None = None,
        bias: Weight | None = None,
        inputs: int | None = None,
        scale_input: bool | None = None,
    ) -> int:
        """pad: top, left, bottom, right. scale_input, where given, makes it a binary_conv2d."""
        cout, _, kh, kw = weight.shape
        attributes = [cout, kh, kw, *stride, *pad, *dilation, groups, activation]
        if scale_input is not None:
            attributes.append(int(scale_input))
        op = "conv2d" if scale_input is None else "binary_conv2d"
        return self.add_node(op, inputs, attributes, (weight, scale, bias))

    def linear(
        self,
        weight: Weight,
        *,
        activation: int = NONE,
        scale: Weight | None = None,
        bias: Weight | None = None,
        inputs: int | None = None,
        scale_input: bool | None = None,
    ) -> int:
        attributes = [weight.shape[0], activation]
        if scale_input is not None:
            attributes.append(int(scale_input))
        op = "linear" if scale_input is None else "binary_linear"
        return self.add_node(op, inputs, attributes, (weight, scale, bias))

    def quantize(self, scale: float, zero: int, inputs: int | None = None) -> int:
        return self.add_node("quantize", inputs, level(scale, zero))

    def int8_conv2d(
        self,
        weight: Weight,
        scale: Weight,
        out: list[int],
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        activation: int = NONE,
        bias: Weight | None = None,
        inputs: int | None = None,
    ) -> int:
        """out: the level of the output."""
        cout, _, kh, kw = weight.shape
        attributes = [cout, kh, kw, *stride, *pad, *dilation, groups, activation, *out]
        return self.add_node("int8_conv2d", inputs, attributes, (weight, scale, bias))

    def int8_linear(
        self,
        weight: Weight,
        scale: Weight,
        out: list[int],
        *,
        activation: int = NONE,
        bias: Weight | None = None,
        inputs: int | None = None,
    ) -> int:
        attributes = [weight.shape[0], activation, *out]
        return self.add_node("int8_linear", inputs, attributes, (weight, scale, bias))

    def pool(
        self,
        op: str,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        count_include_pad: bool | None = None,
        inputs: int | None = None,
    ) -> int:
        attributes = [*kernel, *stride, *pad]
        if count_include_pad is not None:
            attributes.append(int(count_include_pad))
        return self.add_node(op, inputs, attributes)

    def node_section(self, table: list[Weight]) -> bytes:
        channels = self.shape[2]
        scale = self.scale or [1.0] * channels
        shift = self.shift or [0.0] * channels
        out = b"".join(varint(d) for d in self.shape)
        out += b"".join(struct.pack("<ff", a, b) for a, b in zip(scale, shift, strict=True))
        return out + varint(len(self.nodes)) + b"".join(node.encode(table) for node in self.nodes)

    def encode(self) -> bytes:
        table: list[Weight] = []
        nodes = self.node_section(table)
        weights = varint(len(table)) + b"".join(weight.entry() for weight in table)
        return assemble(self.info, nodes, weights, b"".join(weight.payload for weight in table), self.version)


def assemble(info: bytes, nodes: bytes, weights: bytes, blob: bytes, version: int = 1) -> bytes:
    """A file with correct offsets, lengths and checksums around whatever the sections hold."""
    sections = [(b"INFO", info), (b"NODE", nodes), (b"WGHT", weights), (b"BLOB", blob)]
    length = HEADER_SIZE + sum(len(data) for _, data in sections)
    header = MAGIC + struct.pack("<HHI", version, len(sections), length)
    offset = HEADER_SIZE
    for tag, data in sections:
        header += tag + struct.pack("<III", offset, len(data), zlib.crc32(data))
        offset += len(data)
    header += struct.pack("<I", zlib.crc32(header))
    return header + b"".join(data for _, data in sections)
