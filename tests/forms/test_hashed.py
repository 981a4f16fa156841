from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
import torch
import xxhash
from torch import Tensor

from camfit.errors import PlanError
from camfit.forms import Codebook, Hashed, Masked
from camfit.forms.hashed import xxh32_pairs


def placed(shape: tuple[int, ...], buckets: int, seed: int, hashes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(bucket, sign) of every position by the package xxhash, one position at a time."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    bucket, sign = np.empty((rows, columns), np.int64), np.empty((rows, columns), np.float32)
    for i, j in itertools.product(range(rows), range(columns)):
        key = struct.pack("<II", i, j)
        bucket[i, j] = xxhash.xxh32_intdigest(key, seed) * buckets >> 32
        sign[i, j] = 1 if xxhash.xxh32_intdigest(key, (seed + hashes - 1) % 2**32) & 1 else -1
    return bucket.reshape(shape), sign.reshape(shape)


def test_the_hash_is_xxh32_of_eight_bytes() -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 2**32, (2, 300), dtype=np.uint32)
    for seed in (0, 1, 2**32 - 1, 2654435761):
        expected = [xxhash.xxh32_intdigest(struct.pack("<II", i, j), seed) for i, j in zip(rows, columns, strict=True)]
        assert xxh32_pairs(rows, columns, seed).tolist() == expected


@pytest.mark.parametrize(
    ("shape", "buckets", "seed"),
    [((5, 7), 4, 0), ((4, 3, 2, 3), 10, 77), ((3, 3), 1, 5), ((6, 4), 100, 2**32 - 1)],
)
@pytest.mark.parametrize("hashes", [1, 2])
def test_a_weight_is_the_signed_value_of_its_bucket(
    shape: tuple[int, ...], buckets: int, seed: int, hashes: int
) -> None:
    bucket, sign = placed(shape, buckets, seed, hashes)
    values = torch.randn(buckets, generator=torch.Generator().manual_seed(1))
    found = Hashed(shape, buckets, seed, hashes)(values)
    assert torch.equal(found, torch.from_numpy(sign) * values[torch.from_numpy(bucket)])


def test_a_buckets_gradient_is_the_signed_sum_over_its_weights() -> None:
    form = Hashed((4, 6), 5, 9)
    bucket, sign = placed((4, 6), 5, 9)
    upstream = torch.arange(24.0).reshape(4, 6) - 7
    expected = [0.0] * 5
    for i, j in itertools.product(range(4), range(6)):
        expected[bucket[i, j]] += float(sign[i, j]) * float(upstream[i, j])
    stored = torch.zeros(5, requires_grad=True)
    form(stored).backward(upstream)
    assert stored.grad is not None and stored.grad.tolist() == expected


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_buckets_are_used_alike_and_signs_are_balanced(seed: int) -> None:
    """χ² of 64 buckets over 65,536 positions: 63 degrees of freedom leave 34 to 104 only once in 500 draws."""
    form = Hashed((256, 256), 64, seed)
    counts = torch.bincount(form.bucket.flatten(), minlength=64).double()
    assert 34 < float(((counts - 1024) ** 2 / 1024).sum()) < 104
    # Signs are balanced over all (3.3 deviations), and within each bucket (χ² with 64 degrees of freedom).
    assert abs(float(form.sign.sum())) < 3.3 * 256
    sums = torch.bincount(form.bucket.flatten(), weights=form.sign.flatten().double(), minlength=64)
    assert 35 < float((sums**2 / counts).sum()) < 105


@pytest.mark.parametrize("hashes", [1, 2])
@pytest.mark.parametrize("buckets", [2, 3, 1000, 65536])
def test_sign_and_bucket_are_independent(hashes: int, buckets: int) -> None:
    """What the paper's unbiasedness rests on: of two weights, in a bucket the product of signs is +1 as often as -1.

    χ² of the buckets' signs has as many degrees of freedom as there are buckets in use; between neighbours, in a row or a
    column, that share a bucket or have neighbouring ones, signs agree half of the time. All to 4 deviations, over 8 seeds.
    """
    squares, freedom, agree, pairs, rank = 0.0, 0, 0.0, 0, 0.0
    size, seeds = 512, 8
    for seed in range(seeds):
        form = Hashed((size, size), buckets, 2654435761 * seed, hashes)
        bucket, sign = form.bucket, form.sign.double()
        counts = torch.bincount(bucket.flatten(), minlength=buckets)
        sums = torch.bincount(bucket.flatten(), weights=sign.flatten(), minlength=buckets)
        squares += float((sums**2 / counts.clamp(min=1)).sum())
        freedom += int((counts > 0).sum())
        rank += float((sign * (bucket.double() / buckets - 0.5)).sum())
        for dim in (0, 1):
            near = bucket.diff(dim=dim).abs() <= max(1, buckets // 64)
            both = sign.narrow(dim, 0, size - 1) * sign.narrow(dim, 1, size - 1)
            agree += float(both[near].sum())
            pairs += int(near.sum())
    assert abs(squares - freedom) < 4 * (2 * freedom) ** 0.5
    assert abs(agree) < 4 * pairs**0.5
    assert abs(rank) < 4 * (seeds * size * size / 12) ** 0.5


def test_the_seed_decides() -> None:
    same, other = Hashed((8, 8), 16, 3), Hashed((8, 8), 16, 4)
    assert torch.equal(Hashed((8, 8), 16, 3 + 2**32).bucket, same.bucket)
    assert not torch.equal(other.bucket, same.bucket)


def test_projection_is_the_least_squares_fit() -> None:
    form = Hashed((6, 5), 7, 2)
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    bucket, sign = placed((6, 5), 7, 2)
    design = torch.zeros(30, 7)
    design[torch.arange(30), torch.from_numpy(bucket).flatten()] = torch.from_numpy(sign).flatten()
    fit: Tensor = torch.linalg.lstsq(design, weight.reshape(30, 1)).solution.flatten()
    torch.testing.assert_close(form.project(weight), fit)


def test_it_cannot_lose_channels() -> None:
    with pytest.raises(PlanError, match="hashed weight .* cannot lose channels"):
        Hashed((2, 2), 2, 0).keep(torch.ones(2), 0, torch.tensor([0]))


@pytest.mark.parametrize("earlier", [Masked(torch.ones(2, 2)), Codebook(torch.zeros(2, 2), 1)])
def test_it_does_not_replace_a_masked_or_shared_weight(earlier: Masked | Codebook) -> None:
    with pytest.raises(PlanError, match=f"form hashed .* cannot follow form {earlier.name}"):
        Hashed((2, 2), 2, 0).after(earlier, torch.ones(2))


def test_it_needs_a_bucket() -> None:
    with pytest.raises(PlanError, match=r"hashed weight of shape \[2, 3\]: 0 buckets, expected at least 1"):
        Hashed((2, 3), 0, 0)
    with pytest.raises(PlanError, match=r"hashed weight of shape \[2, 3\]: 3 hashes, expected 1 or 2"):
        Hashed((2, 3), 1, 0, 3)
