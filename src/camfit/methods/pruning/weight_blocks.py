"""Weights in blocks of equal size with an inverse Hessian each: a whole network, a layer, rows, or parts of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from camfit.methods.curvature import Slopes


@dataclass(frozen=True)
class Blocks:
    """How the weights of some layers lie in blocks.

    Attributes:
        shapes: the layers' weight shapes by path; more than one layer only where all are in one block.
        rows: output channels that are blocks of their own, or 1.
        parts: of each row; the last one is filled up with zeros.
        size: weights of a block.
    """

    shapes: Mapping[str, tuple[int, ...]]
    rows: int
    parts: int
    size: int

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.rows * self.parts

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Tensors [N, *weight.shape] by path as [blocks, N, size], float64."""
        flat = torch.cat([values[path].flatten(1) for path in self.shapes], 1).double()
        rows = flat.reshape(len(flat), self.rows, -1)
        filled = F.pad(rows, (0, self.parts * self.size - rows.shape[2]))
        return filled.reshape(len(flat), self.count, self.size).transpose(0, 1)

    def unpack(self, blocks: Tensor) -> dict[str, Tensor]:
        """[blocks, size] as a tensor of each weight's shape."""
        total = sum(math.prod(shape) for shape in self.shapes.values())
        flat = blocks.reshape(self.rows, -1)[:, : total // self.rows].flatten()
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        return {path: part.reshape(shape) for (path, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def along_inputs(self, slopes: Mapping[str, Slopes]) -> bool:
        """True where all factors of one image lie, row by row, along what the layer reads: one vector is their sum."""
        return self.rows > 1 and all(slopes[path].single for path in self.shapes)

    def vectors(self, slopes: Mapping[str, Slopes]) -> Tensor:
        """J'v of a batch's images for one factor: [blocks, N, size]."""
        return self.pack({path: slopes[path].per_image() for path in self.shapes})

    def vectors_along_inputs(self, slopes: Mapping[str, Slopes], squares: Tensor) -> Tensor:
        """Vectors x [blocks, N, size] whose x x' is the sum over factors, given Σ back² of the layer [N, rows]."""
        (path,) = self.shapes
        return self.pack({path: squares.sqrt()[:, :, None] * slopes[path].reads[0][:, None, :]})


def blocks_of(shapes: Mapping[str, tuple[int, ...]], whole: int, block: int) -> list[Blocks]:
    """The largest blocks that the limits allow.

    Args:
        shapes: weight shapes by path.
        whole: weights up to which all layers together are one block.
        block: weights of a block beyond that: a layer, else an output channel's row, else an equal part of a row.
    """
    sizes = {path: math.prod(shape) for path, shape in shapes.items()}
    if sum(sizes.values()) <= whole:
        return [Blocks(dict(shapes), 1, 1, sum(sizes.values()))]
    found: list[Blocks] = []
    for path, shape in shapes.items():
        if sizes[path] <= block:
            found.append(Blocks({path: shape}, 1, 1, sizes[path]))
            continue
        row = sizes[path] // shape[0]
        parts = math.ceil(row / block)
        found.append(Blocks({path: shape}, shape[0], parts, math.ceil(row / parts)))
    return found
