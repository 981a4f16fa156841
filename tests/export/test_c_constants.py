from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camfit.export.c_constants import float_text, sparse_stream
from camfit.export.c_templates import gather
from export.compiled import STRICT, cc


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_constants_are_exact(value: float) -> None:
    text = float_text(value)
    assert text.endswith("f") and np.float32(float.fromhex(text[:-1])).tobytes() == np.float32(value).tobytes()


def test_a_stream_worked_by_hand() -> None:
    """Gaps 1, 0, 7 in widths of 2 bits: 1 | 0 | skip 3, skip 3, 1; codes of 2 bits behind each."""
    index = np.full(12, -1)
    index[[1, 2, 10]] = [2, 1, 3]
    stream = sparse_stream(index.reshape(2, 6), 2)
    bits = "".join(f"{byte:08b}"[::-1] for byte in stream.data)  # the first bit first
    assert (stream.gap_bits, stream.entries, stream.code_bits) == (2, 3, 2)
    assert bits == "1001" + "0010" + "11111011"


def test_nothing_pruned_takes_no_gaps() -> None:
    stream = sparse_stream(np.array([[0, 1], [1, 0]]), 1)
    assert (stream.gap_bits, stream.data.tolist()) == (0, [0b0110])
    assert sparse_stream(np.full((3, 3), -1), 4).entries == 0


@given(st.integers(0, 1 << 32), st.floats(0.005, 1.0), st.integers(0, 3))
def test_no_other_width_of_gaps_is_shorter(seed: int, density: float, code_bits: int) -> None:
    rng = np.random.default_rng(seed)
    index = np.where(rng.random((7, 40)) < density, 0, -1)
    gaps = np.diff(np.flatnonzero(index.reshape(-1) >= 0), prepend=-1) - 1
    lengths = [sum((gap // (2**b - 1) + 1) * b + code_bits for gap in gaps.tolist()) for b in range(1, 9)]
    assert len(sparse_stream(index, code_bits).data) <= -(-min(lengths) // 8)


def compiled(folder: Path, name: str) -> ctypes.CDLL:
    """A template of its own, its function visible to the test."""
    headers, texts = gather(["float_arithmetic.h", f"{name}.c"])
    code = "".join(f"#include <{header}>\n" for header in headers) + "\n".join(texts).replace("static float", "float")
    (folder / "one.c").write_text(code)
    cc(folder, *STRICT, "-O2", "-shared", "-fPIC", "-o", f"{name}.so", "one.c")
    return ctypes.CDLL(str(folder / f"{name}.so"))


def test_fused_rounds_once(tmp_path: Path) -> None:
    """Against the C library's fmaf: random numbers, and sums that lie next to the middle of two floats."""
    fused = compiled(tmp_path, "fused").fused
    try:
        library = ctypes.CDLL("libm.so.6").fmaf
    except OSError:
        pytest.skip("compares with the C library's fmaf, which was not found")
    for function in (fused, library):
        function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    rng = np.random.default_rng(0)
    count = 20_000
    a = (rng.standard_normal(count) * 2.0 ** rng.integers(-40, 40, count)).astype(np.float32)
    b = rng.integers(-2000, 2000, count).astype(np.float32)
    c = (rng.standard_normal(count) * 2.0 ** rng.integers(-60, 60, count)).astype(np.float32)
    # Half an ulp of c, and a little more or less: what rounding twice gets wrong.
    tie = np.spacing(np.abs(c)) / 2 * (1 + rng.integers(-1, 2, count) * np.float32(2.0**-23))
    a = np.where(rng.random(count) < 0.5, a, tie.astype(np.float32))
    b = np.where(rng.random(count) < 0.5, b, rng.choice([-1.0, 1.0], count)).astype(np.float32)
    found, wanted = ([function(*triple) for triple in zip(a, b, c, strict=True)] for function in (fused, library))
    np.testing.assert_array_equal(np.float32(found).view(np.uint32), np.float32(wanted).view(np.uint32))


def test_exp_is_within_a_unit_in_the_last_place(tmp_path: Path) -> None:
    exp_of = compiled(tmp_path, "exp").exp_of
    exp_of.restype, exp_of.argtypes = ctypes.c_float, [ctypes.c_float]
    x = np.concatenate([np.linspace(-104.5, 0, 50_001), -np.logspace(-10, 2, 1001), [-np.inf, -0.0]]).astype(np.float32)
    found = np.array([exp_of(value) for value in x.tolist()], np.float32)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(found - exact) <= 0.5001 * np.spacing(exact.astype(np.float32))).all()
    assert exp_of(0.0) == 1 and exp_of(-104.1) == 0 and np.isnan(exp_of(float("nan")))
