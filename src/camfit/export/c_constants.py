"""Weights as constants of C: each form in the bytes that its kernel runs from, not the file's entropy-coded ones.

An array is written once, however many layers share its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from camfit.forms import Codebook, Hashed, Masked, Sign
from camfit.pack.lower import Weight

_LINE = 110
_TYPES = {"f4": "float", "i1": "int8_t", "i4": "int32_t", "u1": "uint8_t", "u2": "uint16_t", "u4": "uint32_t"}
_MOST_GAP_BITS = 8
_BLOCK = 4


@dataclass(frozen=True)
class Matrix:
    """A weight for a kernel: ``kind`` ends the kernel's name ("" for dense), ``argument`` is what to hand to it."""

    kind: str
    argument: str


@dataclass
class Constants:
    """The constants of one network.

    Attributes:
        arrays: their definitions, in order.
        structs: of the kernels' own types, in order.
        sizes: bytes of arrays, by the layer that was the first to need them.
    """

    arrays: list[str] = field(default_factory=list)
    structs: list[str] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    _known: dict[tuple[int, str], Matrix | str] = field(default_factory=dict)
    # The weights behind the ids above: an id is worth something only while its object lives.
    _kept: list[Weight] = field(default_factory=list)

    def array(self, layer: int, name: str, values: np.ndarray) -> str:
        """Defines an array; returns its name."""
        kind = values.dtype.str[1:]
        values = values.reshape(-1) if values.size else np.zeros(1, values.dtype)  # C has no empty arrays
        self.sizes[layer] = self.sizes.get(layer, 0) + values.nbytes
        self.arrays.append(f"static const {_TYPES[kind]} {name}[{values.size}] = {{\n{_rows(_texts(values))}\n}};\n")
        return name

    def struct(self, kind: str, name: str, values: list[object]) -> str:
        """Defines a struct of a kernel's type; returns its address."""
        self.structs.append(f"static const {kind} {name} = {{{', '.join(map(str, values))}}};\n")
        return f"&{name}"

    def vector(self, layer: int, weight: Weight | None) -> tuple[str, str]:
        """(float array, binary16 array) of a scale or bias, binary16 where that loses nothing, 0 for the other one."""
        if weight is None:
            return "0", "0"
        values = weight.values.numpy().astype(np.float32)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        exact = np.array_equal(half.astype(np.float32).view(np.uint32), values.view(np.uint32))
        stored = half.view(np.uint16) if exact else values
        name = str(self._once(weight, "vector", lambda: self.array(layer, f"layer{layer}_{weight.role}", stored)))
        return ("0", name) if exact else (name, "0")

    def matrix(self, layer: int, weight: Weight, groups: int = 1) -> Matrix:
        """A weight [out, in] or [out, in of a group, height, width] for linear layers and convolutions."""
        return self._matrix(weight, f"matrix {groups}", lambda: self._form(layer, weight, groups))

    def depthwise(self, layer: int, weight: Weight) -> Matrix | None:
        """The weight [channels, 1, height, width] of a depth-wise convolution, if it is dense; its channels fastest."""
        if weight.form is not None:
            return None
        values = weight.values.numpy()[:, 0].transpose(1, 2, 0)
        return self._matrix(weight, "depthwise", lambda: Matrix("", self.array(layer, f"layer{layer}_weight", values)))

    def integers(self, layer: int, weight: Weight, groups: int = 1) -> Matrix:
        """As ``matrix``, of an integer layer: bytes, or the stream of a weight that takes less of them so."""
        return self._matrix(weight, f"integers {groups}", lambda: self._integers(layer, weight, groups))

    def depthwise_integers(self, layer: int, weight: Weight) -> Matrix:
        """As ``depthwise``, of an integer layer."""
        values = weight.values.numpy()[:, 0].transpose(1, 2, 0).astype(np.int8)
        name = f"layer{layer}_weight"
        return self._matrix(weight, "depthwise integers", lambda: Matrix("", self.array(layer, name, values)))

    def signs(self, layer: int, weight: Weight) -> str:
        """The signs of a binary layer, in words of 32 channels a kernel position."""
        values = weight.values.numpy()
        rows, channels = values.shape[:2]
        positive = np.signbit(values.reshape(rows, channels, -1).transpose(0, 2, 1)) == 0
        padded = np.zeros((*positive.shape[:2], -(-channels // 32) * 32), bool)
        padded[..., :channels] = positive
        words = np.packbits(padded, axis=-1, bitorder="little").view("<u4")
        return str(self._once(weight, "signs", lambda: self.array(layer, f"layer{layer}_weight", words)))

    # -- forms -------------------------------------------------------------------------------------------------

    def _form(self, layer: int, weight: Weight, groups: int) -> Matrix:
        """A form is one branch here and one pair of kernels, c/conv2d_FORM.c and c/linear_FORM.c."""
        values = weight.values.numpy()
        columns = values[0].size
        name = f"layer{layer}_weight"
        if isinstance(weight.form, Codebook):
            assert weight.stored is not None
            codebook = weight.stored.numpy().astype(np.float32)
            index = _by_position(weight.form.index.numpy())
            stream = sparse_stream(index, max(1, (len(codebook) - 1).bit_length()))
            if stream.data.nbytes + codebook.nbytes < values.nbytes:
                return self._sparse(layer, stream, codebook, columns)
        elif isinstance(weight.form, Masked):
            ordered = _by_position(values)
            alive = _by_position(weight.form.mask.numpy())
            stream = sparse_stream(np.where(alive, 0, -1), 0)
            kept = ordered[alive]
            if stream.data.nbytes + kept.nbytes < values.nbytes:
                return self._sparse(layer, stream, kept, columns)
        elif isinstance(weight.form, Hashed):
            assert weight.stored is not None
            buckets = self.array(layer, f"{name}_buckets", weight.stored.numpy().astype(np.float32))
            numbers = (weight.form.buckets, weight.form.seed, weight.form.hashes)
            fields: list[object] = [buckets, *(f"{number}u" for number in numbers)]
            return Matrix("hashed", self.struct("hashed_matrix", name, fields))
        elif isinstance(weight.form, Sign):
            alpha = self.array(layer, f"{name}_alpha", alphas(weight))
            bits = np.packbits(np.signbit(_by_position(values)) == 0, bitorder="little")
            signs = self.array(layer, f"{name}_signs", bits)
            return Matrix("sign", self.struct("sign_matrix", name, [alpha, signs, columns]))
        return Matrix("", self.array(layer, name, _in_blocks(_by_position(values), groups)))

    def _integers(self, layer: int, weight: Weight, groups: int) -> Matrix:
        rows = _by_position(weight.values.numpy().astype(np.int8))
        kept = np.unique(rows[rows != 0])
        index = np.where(rows == 0, -1, np.searchsorted(kept, rows))
        stream = sparse_stream(index, max(1, (len(kept) - 1).bit_length()))
        if stream.data.nbytes + kept.nbytes < rows.nbytes:
            return self._sparse(layer, stream, kept, rows.shape[1])
        return Matrix("", self.array(layer, f"layer{layer}_weight", _in_blocks(rows, groups)))

    def _sparse(self, layer: int, stream: Stream, values: np.ndarray, columns: int) -> Matrix:
        name = f"layer{layer}_weight"
        bits = self.array(layer, f"{name}_stream", stream.data)
        entries = self.array(layer, f"{name}_values", values)
        places = ["0", entries] if values.dtype == np.int8 else [entries, "0"]
        fields: list[object] = [bits, *places, stream.entries, columns, stream.gap_bits, stream.code_bits]
        return Matrix("sparse", self.struct("sparse_matrix", name, fields))

    def _matrix(self, weight: Weight, layout: str, make: Callable[[], Matrix]) -> Matrix:
        found = self._once(weight, layout, make)
        assert isinstance(found, Matrix)
        return found

    def _once(self, weight: Weight, layout: str, make: Callable[[], Matrix | str]) -> Matrix | str:
        key = (id(weight), layout)
        if key not in self._known:
            self._kept.append(weight)
            self._known[key] = make()
        return self._known[key]


@dataclass(frozen=True)
class Stream:
    """Positions and codes as c/sparse_stream.c reads them."""

    data: np.ndarray
    entries: int
    gap_bits: int
    code_bits: int


def sparse_stream(index: np.ndarray, code_bits: int) -> Stream:
    """Writes a matrix of codes [rows, columns], -1 for a pruned weight, with the width of gaps that takes fewest bytes.

    Args:
        index: the codes.
        code_bits: of each; 0 writes positions alone.
    """
    flat = index.reshape(-1)
    positions = np.flatnonzero(flat >= 0)
    codes = flat[positions]
    gaps = np.diff(positions, prepend=-1) - 1
    widths = range(1, _MOST_GAP_BITS + 1) if gaps.any() else (0,)
    gap_bits = min(widths, key=lambda bits: bits * (len(gaps) + int((gaps // max(1, 2**bits - 1)).sum())))
    skips = gaps // max(1, 2**gap_bits - 1) if gap_bits else np.zeros_like(gaps)
    rest = gaps - skips * (2**gap_bits - 1)
    lengths = skips * gap_bits + gap_bits + code_bits
    ends = np.cumsum(lengths)
    # Skips are ones; the gap and the code behind them are put in bit by bit.
    bits = np.ones(int(ends[-1]) if len(ends) else 0, np.uint8)
    for bit in range(gap_bits):
        bits[ends - code_bits - gap_bits + bit] = rest >> bit & 1
    for bit in range(code_bits):
        bits[ends - code_bits + bit] = codes >> bit & 1
    return Stream(np.packbits(bits, bitorder="little"), len(positions), gap_bits, code_bits)


def alphas(weight: Weight) -> np.ndarray:
    """The scale of each output channel of a weight of form sign, float32."""
    found: np.ndarray = np.abs(weight.values.numpy()).reshape(len(weight.values), -1)[:, 0].astype(np.float32)
    return found


def _by_position(values: np.ndarray) -> np.ndarray:
    """[out, in] as it is; [out, in, height, width] to [out, height · width · in], the order in which kernels sum."""
    if values.ndim == 4:
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values).reshape(len(values), -1)


def _in_blocks(rows: np.ndarray, groups: int) -> np.ndarray:
    """Rows in blocks of `_BLOCK` that do not reach over groups, each block by columns (c/add_products.c)."""
    size = len(rows) // groups
    firsts = [group * size + first for group in range(groups) for first in range(0, size, _BLOCK)]
    ends = [*firsts[1:], len(rows)]
    return np.concatenate([rows[first:end].T.reshape(-1) for first, end in zip(firsts, ends, strict=True)])


def _texts(values: np.ndarray) -> list[str]:
    if values.dtype.kind != "f":
        suffix = "u" if values.dtype.str[1:] == "u4" else ""
        return [f"{value}{suffix}" for value in values.tolist()]
    return [float_text(value) for value in values.tolist()]


def float_text(value: float) -> str:
    """A float32 as a constant of C, exactly."""
    mantissa, _, exponent = value.hex().partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}f"


def _rows(texts: list[str]) -> str:
    lines: list[str] = []
    line = " "
    for text in texts:
        if len(line) + len(text) + 2 > _LINE:
            lines.append(line)
            line = " "
        line += f" {text},"
    return "\n".join([*lines, line])
