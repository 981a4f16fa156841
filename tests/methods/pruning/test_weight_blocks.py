from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.methods.curvature import slopes
from camfit.methods.pruning.weight_blocks import Blocks, blocks_of
from camfit.network import Network
from methods.chain import chain

SHAPES = {"conv": (4, 2, 3, 3), "fc": (3, 10)}  # 72 and 30 weights


@pytest.mark.parametrize(
    ("whole", "block", "expected"),
    [
        (102, 1, [(1, 1, 102)]),
        (101, 72, [(1, 1, 72), (1, 1, 30)]),
        (0, 71, [(4, 1, 18), (1, 1, 30)]),
        (0, 18, [(4, 1, 18), (3, 1, 10)]),
        (0, 9, [(4, 2, 9), (3, 2, 5)]),
        (0, 4, [(4, 5, 4), (3, 3, 4)]),
        (0, 1, [(4, 18, 1), (3, 10, 1)]),
    ],
)
def test_blocks_are_as_large_as_the_limits_allow(whole: int, block: int, expected: list[tuple[int, int, int]]) -> None:
    found = blocks_of(SHAPES, whole, block)
    assert [(blocks.rows, blocks.parts, blocks.size) for blocks in found] == expected


@pytest.mark.parametrize(("whole", "block"), [(102, 1), (0, 72), (0, 9), (0, 4), (0, 7)])
def test_packing_and_unpacking_give_the_weights_back(whole: int, block: int) -> None:
    values = {path: torch.randn(shape) for path, shape in SHAPES.items()}
    for blocks in blocks_of(SHAPES, whole, block):
        packed = blocks.pack({path: values[path][None] for path in blocks.shapes})
        assert packed.shape == (blocks.count, 1, blocks.size)
        for path, value in blocks.unpack(packed[:, 0]).items():
            torch.testing.assert_close(value.float(), values[path])


def test_a_block_is_a_part_of_one_output_channels_row() -> None:
    blocks = Blocks({"fc": (2, 5)}, 2, 2, 3)
    packed = blocks.pack({"fc": torch.arange(1.0, 11.0).reshape(1, 2, 5)})
    assert packed[:, 0].tolist() == [[1, 2, 3], [4, 5, 0], [6, 7, 8], [9, 10, 0]]


def hessians(network: Network, blocks: Blocks, inputs: Tensor, merged: bool) -> Tensor:
    """Σ x x' of each block over all images and factors."""
    total = torch.zeros(blocks.count, blocks.size, blocks.size, dtype=torch.float64)
    for factors in slopes(network, inputs, blocks.shapes):
        squares: Tensor | float = 0.0
        for one in factors:
            assert blocks.along_inputs(one)
            squares = squares + one["fc"].back[0].square()
            if not merged:
                vectors = blocks.vectors(one)
                total += vectors.transpose(1, 2) @ vectors
        if merged:
            assert isinstance(squares, Tensor)
            vectors = blocks.vectors_along_inputs(one, squares)
            total += vectors.transpose(1, 2) @ vectors
    return total


@pytest.mark.parametrize("block", [7, 4])
def test_one_vector_an_image_holds_all_factors_of_a_linear_row(block: int) -> None:
    torch.manual_seed(0)
    network = chain((7,), fc=nn.Linear(7, 5), relu=nn.ReLU(), out=nn.Linear(5, 3)).double()
    (blocks,) = blocks_of({"fc": (5, 7)}, 0, block)
    inputs = torch.randn(9, 7, dtype=torch.float64)
    torch.testing.assert_close(hessians(network, blocks, inputs, True), hessians(network, blocks, inputs, False))
