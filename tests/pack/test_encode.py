from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
import torch
from torch import Tensor

from camfit import _native
from camfit.forms import Codebook, Form, Integer, Masked, Sign
from camfit.pack.encode import CODEBOOK, CODERS, DENSE, HALF, SIGN, SPARSE, Payload, encode
from camfit.pack.lower import Weight


def written(form: Form | None, stored: Tensor, coder: str = "range", half: bool = False) -> Payload:
    weight = stored if form is None else form(stored)
    return encode(Weight("weight", "layer", weight, form, stored), coder=coder, half=half)


def vector(*values: float, half: bool = False) -> Payload:
    return encode(Weight("bias", "layer", torch.tensor(values)), coder="range", half=half)


def random_codebook(shape: tuple[int, ...], entries: int, density: float, seed: int) -> tuple[Codebook, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    alive = torch.rand(shape, generator=generator) < density
    index = torch.where(alive, torch.randint(0, entries, shape, generator=generator), -1)
    return Codebook(index, entries), torch.randn(entries, generator=generator)


# -- codebooks -------------------------------------------------------------------------------------------------

SHAPES = ((8, 3, 3, 3), (20, 50), (1, 1), (300, 7))


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize(("entries", "density"), [(1, 0.3), (2, 1.0), (5, 0.02), (32, 0.5), (300, 0.9), (4, 0.0)])
def test_what_is_written_is_read_back(coder: str, entries: int, density: float) -> None:
    for shape, half in itertools.product(SHAPES, (False, True)):
        form, centroids = random_codebook(shape, entries, density, seed=entries)
        payload = written(form, centroids, coder, half)
        assert (payload.form, payload.shape) == (CODEBOOK, shape)
        assert sum(payload.parts.values()) == len(payload.data) and min(payload.parts.values()) >= 0
        rows = shape[0]
        index, values = _native.decode_codebook(payload.data, rows, form.index[0].numel())
        assert np.array_equal(index < 0, (form.index < 0).reshape(rows, -1).numpy())
        found = np.where(index < 0, np.float32(0), values[index])
        expected = form(centroids.half().float() if half else centroids).reshape(rows, -1).numpy()
        np.testing.assert_array_equal(found, expected)


def test_entries_are_sorted_and_equal_or_unused_ones_are_not_stored() -> None:
    payload = written(Codebook(torch.tensor([[0, 1, 2, -1, 4]]), 5), torch.tensor([3.0, -1.0, 3.0, 7.0, 0.5]))
    index, values = _native.decode_codebook(payload.data, 1, 5)
    assert values.tolist() == [-1, 0.5, 3] and index.tolist() == [[2, 0, 2, -1, 1]]


def head(payload: Payload) -> tuple[int, int, int]:
    """(coder, gap bits, fillers) of a coder-0 payload with a codebook of one f32 and fewer than 128 non-zeros."""
    data = payload.data
    coder, entries, nonzeros = data[0] & 7, data[1], data[2]
    assert entries == 1 and nonzeros < 128
    return coder, data[7], data[8]


@pytest.mark.parametrize("coder", ["bits", "huffman"])
def test_gaps_have_five_bits_in_linear_layers_and_eight_in_convolutions(coder: str) -> None:
    """Non-zeros at 0, 40 and 99: gaps 0, 39, 58. With 5 bits the second is 31 and, from 32 on, 7; the third 31 and 26."""
    index = torch.full((1, 100), -1)
    index[0, [0, 40, 99]] = 0
    fc = written(Codebook(index, 1), torch.tensor([1.5]), coder)
    conv = written(Codebook(index.reshape(1, 4, 5, 5), 1), torch.tensor([1.5]), coder)
    assert head(fc) == (0, 5, 2) and head(conv) == (0, 8, 0)
    if coder == "bits":
        # Head, K, n, codebook, width, fillers: 9 bytes; then 5 entries of 5 + 1 bits, or 3 of 8 + 0.
        assert len(fc.data) == 9 + 4 and len(conv.data) == 9 + 3
        assert "".join(f"{byte:08b}" for byte in fc.data[9:]) == (
            "00000" "0" "11111" "1" "00111" "0" "11111" "1" "11010" "0" "00"
        )  # fmt: skip
        assert conv.data[9:] == bytes([0, 39, 58])


def test_a_gap_of_exactly_the_limit_needs_no_filler() -> None:
    for last, fillers in ((32, 0), (33, 1), (64, 1), (65, 2)):
        index = torch.full((1, 100), -1)
        index[0, [0, last]] = 0
        payload = written(Codebook(index, 1), torch.tensor([1.5]), "bits")
        assert head(payload)[2] == fillers, f"gap {last - 1} against a limit of 31 and a filler's own place"
        assert np.array_equal(_native.decode_codebook(payload.data, 1, 100)[0], index.numpy())


def test_centroids_too_large_for_binary16_are_stored_whole() -> None:
    form = Codebook(torch.tensor([[0, 1]]), 2)
    payload = written(form, torch.tensor([1 / 3, 1e6]), half=True)
    assert _native.decode_codebook(payload.data, 1, 2)[1].tolist() == [np.float32(1 / 3), 1e6]
    payload = written(form, torch.tensor([1 / 3, 6e4]), half=True)
    assert _native.decode_codebook(payload.data, 1, 2)[1].tolist() == [np.float16(1 / 3), 6e4]


# -- sparse and dense ------------------------------------------------------------------------------------------


def test_a_masked_weight_is_its_positions_and_values() -> None:
    stored = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    for density in (0.0, 0.02, 0.5, 0.9):
        form = Masked(torch.rand(30, 40, generator=torch.Generator().manual_seed(1)) < density)
        payload = written(form, stored)
        assert payload.form == SPARSE and sum(payload.parts.values()) == len(payload.data)
        (length,) = struct.unpack("<I", payload.data[:4])
        index, one = _native.decode_codebook(payload.data[4 : 4 + length], 30, 40)
        assert one.tolist() == [1]
        found = np.zeros((30, 40), np.float32)
        found[index == 0] = np.frombuffer(payload.data[4 + length :], "<f4")
        np.testing.assert_array_equal(found, form(stored).numpy())


@pytest.mark.parametrize("form", [Masked(torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) < 0.5), None])
def test_half_zeros_cost_about_half_whether_masked_or_just_zero(form: Masked | None) -> None:
    """2,048 values and a position bit for each of 4,096 weights: 8,704 bytes against 16,384."""
    mask = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    payload = written(form, torch.ones(64, 64) * mask)
    assert payload.form == SPARSE
    assert len(payload.data) == pytest.approx(4 * int(mask.sum()) + 4096 / 8, rel=0.01)


def test_a_weight_with_few_zeros_stays_dense() -> None:
    stored = torch.ones(20, 20)
    assert written(Masked(stored > 0), stored).form == DENSE
    stored[0, :10] = 0
    payload = written(None, stored)
    assert payload.form == DENSE and payload.data == stored.numpy().tobytes() and payload.parts == {"values": 1600}


# -- signs and vectors -----------------------------------------------------------------------------------------


def test_signs_are_bits_from_the_lowest_and_zero_is_plus() -> None:
    stored = torch.tensor([[0.5, -1.5, 0.0, 2.0, -1.0], [1.0, 1.0, -1.0, -1.0, 1.0]])
    payload = written(Sign(), stored)
    assert (payload.form, payload.parts) == (SIGN, {"signs": 2, "scales": 8})
    assert struct.unpack("<ff", payload.data[:8]) == (1.0, 1.0)
    # + - + + -, + + - - +: bits 0 2 3 5 6 9.
    assert payload.data[8:] == bytes([0b01101101, 0b00000010])


def test_vectors_are_rounded_to_half_only_on_demand_and_where_they_fit() -> None:
    assert vector(1 / 3, -2.0).data == struct.pack("<ff", 1 / 3, -2.0)
    assert (vector(1 / 3, half=True).form, vector(1 / 3, half=True).data) == (HALF, struct.pack("<e", 1 / 3))
    whole = vector(1 / 3, 65520.0, half=True)
    assert (whole.form, whole.data) == (DENSE, struct.pack("<ff", 1 / 3, 65520.0))
    assert vector(65504.0, half=True).form == HALF


# -- integers --------------------------------------------------------------------------------------------------


def integer_payload(form: Integer, stored: Tensor) -> Payload:
    values = form.integers(stored).float()
    return encode(Weight("weight", "layer", values, form, stored), coder="range", half=False)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("masked", [False, True])
def test_integers_are_a_codebook_of_themselves(bits: int, masked: bool) -> None:
    generator = torch.Generator().manual_seed(bits)
    stored = torch.randn(6, 4, 3, 3, generator=generator)
    mask = torch.rand(stored.shape, generator=generator) < 0.3 if masked else None
    form = Integer(stored.abs().flatten(1).amax(1) / (2 ** (bits - 1) - 1), bits, mask)
    payload = integer_payload(form, stored)
    index, values = _native.decode_codebook(payload.data, 6, 36)
    assert payload.form == CODEBOOK and len(values) <= 2**bits - 1
    found = np.where(index < 0, 0, values[index])
    assert np.array_equal(found, form.integers(stored).reshape(6, -1).numpy())
    # A zero that rounding made is stored as what it is, unless positions are stored anyway.
    assert bool((index < 0).any()) == masked and (not masked or np.array_equal(index < 0, found == 0))


def test_vectors_that_must_be_exact_are_not_halved() -> None:
    values = torch.tensor([1e-9, 3.0001])
    payload = encode(Weight("scale", "layer", values, exact=True), coder="range", half=True)
    assert payload.form == DENSE and payload.data == values.numpy().tobytes()
