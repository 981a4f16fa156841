"""How each form of a weight is written: (form number, payload) as docs/format.md lays down."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch

from camfit import _native
from camfit.forms import Codebook, Hashed, Integer, Masked, Sign
from camfit.pack.lower import Weight

DENSE, HALF, CODEBOOK, HASHED, SIGN, SPARSE = range(6)
FORM_NAMES = ("dense", "half", "codebook", "hashed", "sign", "sparse")
CODERS = ("bits", "huffman", "fast", "range")

ONE_HASH = 1 << 31  # in the K of a hashed weight
_FAST = 2  # the number of the coder "fast"

# A sparse weight stores positions and values; a dense one values alone. Below this density positions are tried.
_SPARSE_BELOW = 0.95


@dataclass(frozen=True)
class Payload:
    """One weight as it stands in the file. ``parts`` says where its bytes go."""

    form: int
    shape: tuple[int, ...]
    data: bytes
    parts: dict[str, int]

    @property
    def version(self) -> int:
        """The first version of the format that has this payload."""
        if self.form == HASHED:
            return 3 if struct.unpack_from("<I", self.data, 4)[0] & ONE_HASH else 1
        head = {CODEBOOK: 0, SPARSE: 4}.get(self.form)
        return 2 if head is not None and self.data[head] & 7 == _FAST else 1


def decisions(weight: Weight) -> int:
    """How many binary decisions the coder ``range`` takes for a weight, about: one for each position of a pruned one,
    and one for each bit of a code. Load time goes with it."""
    if weight.role != "weight" or isinstance(weight.form, Hashed | Sign):
        return 0
    size, kept = weight.values.numel(), int(weight.values.count_nonzero())
    values = 1
    if isinstance(weight.form, Codebook):
        assert weight.stored is not None
        used = torch.from_numpy(_used(weight.form.index.numpy(), weight.form.entries))
        kept, values = int((weight.form.index >= 0).sum()), weight.stored[used].unique().numel()
    elif isinstance(weight.form, Integer):
        kept = size if weight.form.mask is None else kept
        values = int((torch.bincount(weight.values.long().flatten() + weight.form.limit) > 0).sum())
    return kept * max(values - 1, 0).bit_length() + (size if kept < size else 0)


def encode(weight: Weight, *, coder: str, half: bool) -> Payload:
    """Writes a weight in the form it lives in.

    Args:
        coder: entropy coder of codebook and sparse weights, one of ``CODERS``.
        half: store biases, scales and codebook values as binary16 (rounded to nearest).
    """
    shape = tuple(weight.values.shape)
    if weight.role != "weight":
        return _vector(weight, shape, half and not weight.exact)
    if isinstance(weight.form, Codebook):
        assert weight.stored is not None
        index = weight.form.index.reshape(shape[0], -1).to(torch.int32).numpy()
        data, parts = _codebook(index, weight.stored.float().numpy(), coder, half, gap_bits=8 if len(shape) == 4 else 5)
        return Payload(CODEBOOK, shape, data, parts)
    if isinstance(weight.form, Integer):
        values = weight.values.reshape(shape[0], -1).to(torch.int32).numpy()
        index = values + weight.form.limit
        if weight.form.mask is not None:
            index[values == 0] = -1
        levels = np.arange(-weight.form.limit, weight.form.limit + 1, dtype=np.float32)
        # Integers are exact in binary16.
        return Payload(CODEBOOK, shape, *_codebook(index, levels, coder, True, gap_bits=8 if len(shape) == 4 else 5))
    if isinstance(weight.form, Hashed):
        assert weight.stored is not None
        buckets = weight.stored.float().numpy()
        count = len(buckets) | (ONE_HASH if weight.form.hashes == 1 else 0)
        data = struct.pack("<II", weight.form.seed, count) + buckets.astype("<f4").tobytes()
        return Payload(HASHED, shape, data, {"buckets": 4 * len(buckets), "tables": 8})
    if isinstance(weight.form, Sign):
        assert weight.stored is not None
        alpha = weight.stored.abs().mean(tuple(range(1, len(shape)))).float().numpy().astype("<f4").tobytes()
        bits = np.packbits((weight.stored >= 0).numpy().reshape(-1), bitorder="little").tobytes()
        return Payload(SIGN, shape, alpha + bits, {"signs": len(bits), "scales": len(alpha)})
    dense = weight.values.float().numpy()
    if isinstance(weight.form, Masked) or np.count_nonzero(dense) < _SPARSE_BELOW * dense.size:
        sparse = _sparse(dense.reshape(shape[0], -1), coder)
        if len(sparse[0]) < dense.nbytes:
            return Payload(SPARSE, shape, *sparse)
    return Payload(DENSE, shape, dense.astype("<f4", copy=False).tobytes(), {"values": dense.nbytes})


def _codebook(
    index: np.ndarray, codebook: np.ndarray, coder: str, half: bool, gap_bits: int
) -> tuple[bytes, dict[str, int]]:
    """Payload of indices [rows, columns] (-1 pruned) into a codebook.

    Entries are sorted, equal ones joined and unused ones dropped: ascending codebooks are stored by their differences,
    and neighbouring values get neighbouring codes.
    """
    rounded = _half(codebook) if half else None
    values, half = codebook.astype(np.float32) if rounded is None else rounded.astype(np.float32), rounded is not None
    kept = np.unique(values[_used(index, len(values))])
    # An index of -1 takes the last one.
    code_of = np.append(np.searchsorted(kept, values), -1).astype(np.int32)
    ordered = code_of[index]
    entries = kept if kept.size else values[:1]  # all pruned: a codebook still holds one value
    data, sizes = _native.encode_codebook(ordered, entries, coder, gap_bits, half)
    parts = {
        "codes": sizes["codes"],
        "indices": sizes["indices"],
        "codebooks": sizes["codebook"],
        "tables": sizes["header"],
    }
    return data, parts


def _used(index: np.ndarray, entries: int) -> np.ndarray:
    """Which entries of a codebook occur, bool [entries]."""
    found = np.zeros(entries + 1, np.bool_)
    found[index] = True  # an index of -1 marks the one behind them
    return found[:entries]


def _sparse(dense: np.ndarray, coder: str) -> tuple[bytes, dict[str, int]]:
    """Positions as a codebook payload of the one value 1, then the values in row-major order."""
    alive = dense != 0
    positions, parts = _codebook(
        np.where(alive, np.int32(0), np.int32(-1)), np.ones(1, np.float32), coder, True, gap_bits=8
    )
    values = dense[alive].astype("<f4").tobytes()
    data = struct.pack("<I", len(positions)) + positions + values
    return data, {
        "values": len(values),
        "indices": parts["indices"],
        "tables": len(data) - len(values) - parts["indices"],
    }


def _vector(weight: Weight, shape: tuple[int, ...], half: bool) -> Payload:
    values = weight.values.float().numpy()
    rounded = _half(values) if half else None
    if rounded is not None:
        return Payload(HALF, shape, rounded.astype("<f2").tobytes(), {"biases and scales": 2 * values.size})
    return Payload(DENSE, shape, values.astype("<f4").tobytes(), {"biases and scales": values.nbytes})


def _half(values: np.ndarray) -> np.ndarray | None:
    """The values rounded to binary16; None where one of them is too large for it."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    return rounded if bool(np.isfinite(rounded).all()) else None
