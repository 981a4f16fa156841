"""Hashed weights: V_ij = ξ(i,j)·w_h(i,j). Chen, Wilson, Tyree, Weinberger, Chen, ICML 2015 (HS1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from camfit.errors import PlanError
from camfit.forms.base import Form

_PRIME = tuple(np.uint32(p) for p in (2654435761, 2246822519, 3266489917, 668265263, 374761393))


def xxh32_pairs(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """XXH32 of the 8 bytes (row u32, column u32, little-endian), elementwise over two uint32 arrays that broadcast."""
    _, p2, p3, p4, p5 = _PRIME
    with np.errstate(over="ignore"):
        h: Any = np.uint32(seed & 0xFFFFFFFF) + p5 + np.uint32(8)
        for word in (rows.astype(np.uint32), columns.astype(np.uint32)):
            h = h + word * p3
            h = ((h << np.uint32(17)) | (h >> np.uint32(15))) * p4
        h = (h ^ (h >> np.uint32(15))) * p2
        h = (h ^ (h >> np.uint32(13))) * p3
        return np.asarray(h ^ (h >> np.uint32(16)), dtype=np.uint32)


class _Gather(torch.autograd.Function):
    """Looks buckets up with signs; the gradient of a bucket is the signed sum over its weights (the paper's eq. 12)."""

    @staticmethod
    def forward(ctx: Any, buckets: Tensor, bucket: Tensor, sign: Tensor) -> Tensor:
        ctx.save_for_backward(bucket, sign)
        ctx.count = buckets.numel()
        return buckets.take(bucket) * sign

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        bucket, sign = ctx.saved_tensors
        sums = torch.bincount(bucket.reshape(-1), weights=(gradient * sign).reshape(-1), minlength=ctx.count)
        return sums.to(gradient.dtype), None, None


class Hashed(Form):
    """Weights drawn from ``buckets`` real values by a hash of their position; only the values and the seed are stored.

    Position (i, j): i is the output channel, j the row-major position in the rest of the weight.

    Args:
        shape: the weight's shape.
        buckets: number of real weights K, at least 1.
        seed: of the layer's hash, 32 bits.
        hashes: 1 takes bucket and sign from one hash of a position, the bucket from its high bits, the sign from the
            lowest; 2 takes the sign from a second hash, of seed + 1, as files before version 3 do. The engine is faster
            with 1.
    """

    name = "hashed"
    bucket: Tensor
    sign: Tensor

    def __init__(self, shape: tuple[int, ...], buckets: int, seed: int, hashes: int = 1) -> None:
        super().__init__()
        if buckets < 1:
            raise PlanError(f"hashed weight of shape {list(shape)}: {buckets} buckets, expected at least 1")
        if hashes not in (1, 2):
            raise PlanError(f"hashed weight of shape {list(shape)}: {hashes} hashes, expected 1 or 2")
        self.shape, self.buckets, self.seed, self.hashes = tuple(shape), buckets, seed & 0xFFFFFFFF, hashes
        rows = np.arange(shape[0], dtype=np.uint32)[:, None]
        columns = np.arange(int(np.prod(shape[1:])), dtype=np.uint32)[None, :]
        x = xxh32_pairs(rows, columns, self.seed)
        bucket = (x.astype(np.uint64) * np.uint64(buckets)) >> np.uint64(32)
        y = x if hashes == 1 else xxh32_pairs(rows, columns, self.seed + 1)
        sign = (y & np.uint32(1)).astype(np.float32) * 2 - 1
        self.register_buffer("bucket", torch.from_numpy(bucket.astype(np.int64)).reshape(shape), persistent=False)
        self.register_buffer("sign", torch.from_numpy(sign).reshape(shape), persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        return _Gather.apply(stored, self.bucket, self.sign)  # type: ignore[no-any-return, no-untyped-call]

    def project(self, weight: Tensor) -> Tensor:
        """The bucket values nearest to a dense weight in least squares: the signed mean of each bucket's weights."""
        sums = torch.bincount(self.bucket.reshape(-1), weights=(weight * self.sign).reshape(-1), minlength=self.buckets)
        counts = torch.bincount(self.bucket.reshape(-1), minlength=self.buckets).clamp(min=1)
        return (sums / counts).to(weight.dtype)

    def keep(self, stored: Tensor, dim: int, index: Tensor) -> tuple[Form, Tensor]:
        raise PlanError(
            f"a hashed weight ({self.origin or 'an earlier edit'}) cannot lose channels: "
            "its values hang on the positions; prune channels before hashing"
        )

    def after(self, earlier: Form | None, stored: Tensor) -> tuple[Form, Tensor]:
        if earlier is None or isinstance(earlier, Hashed):
            return self, stored
        raise self.refuse(earlier, f"hashing replaces every weight, and would undo the {earlier.name} form")

    def settings(self) -> dict[str, int | float | str]:
        return {
            "shape": ",".join(map(str, self.shape)),
            "buckets": self.buckets,
            "seed": self.seed,
            "hashes": self.hashes,
        }
