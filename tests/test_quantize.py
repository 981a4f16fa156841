"""The layer that says which values are bytes: its arithmetic, its gradient, its life in a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.errors import ModelError
from camfit.layers import Quantize, QuantizeMean, build, describe
from camfit.storage import network_bytes, network_from_bytes
from methods.chain import chain


def test_values_are_rounded_halves_up_and_clamped_to_bytes() -> None:
    """Steps of 0.5 around byte 3: bytes 0..255 reach −1.5 .. 126."""
    x = torch.tensor([-9.0, -1.5, -0.75, -0.25, 0.0, 0.2, 0.25, 0.75, 126.0, 200.0])
    assert Quantize(0.5, 3)(x).tolist() == [-1.5, -1.5, -0.5, 0.0, 0.0, 0.0, 0.5, 1.0, 126.0, 126.0]


def test_the_division_is_a_product_with_the_rounded_reciprocal() -> None:
    """1/61 in float32, times 152.5, is a little less than 2.5: it goes down, though 152.5/61 is 2.5 exactly."""
    scale = 61.0
    x = torch.tensor([152.5])
    assert float(x * (1 / torch.tensor(scale))) < 2.5 == float(x / scale)
    assert Quantize(scale)(x).tolist() == [2 * scale]


def test_what_it_gives_it_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    for zero in (0, 77, 128, 255):
        layer = Quantize(float(torch.rand((), generator=generator)) + 1e-3, zero)
        once = layer(torch.randn(1000, generator=generator) * 50)
        assert torch.equal(layer(once), once) and len(once.unique()) > 1


def test_the_gradient_passes_inside_the_bytes_alone() -> None:
    x = torch.tensor([-2.0, -1.6, 0.3, 126.1, 127.0], requires_grad=True)
    Quantize(0.5, 3)(x).backward(torch.full((5,), 7.0))
    assert x.grad is not None and x.grad.tolist() == [0, 7, 7, 7, 0]


def test_it_is_saved_with_its_scale_and_never_trains() -> None:
    network = chain((3,), bytes=Quantize(0.1, 7), fc=nn.Linear(3, 2))
    loaded = network_from_bytes(network_bytes(network), "memory").layer("bytes")
    assert isinstance(loaded, Quantize) and torch.equal(loaded.scale, torch.tensor(0.1))
    assert int(loaded.zero_point) == 7 and not list(loaded.parameters())
    assert describe(loaded) == ("quantize", {}) and isinstance(build("quantize", {}), Quantize)
    assert "scale=0.1, zero_point=7" in str(loaded)


def test_a_mean_is_saved_with_what_it_is_of() -> None:
    """The sum of 9 of six pixels: 9/6 is a half that goes up, times 1/6 in 31 bits it goes down, loaded again too."""
    x = torch.full((1, 3), 1.5)
    layer = QuantizeMean(1.0, 0, pixels=6, source_scale=1.0)
    network = chain((3,), bytes=layer, fc=nn.Linear(3, 2))
    loaded = network_from_bytes(network_bytes(network), "memory").layer("bytes")
    assert describe(loaded) == ("quantize_mean", {"pixels": 6, "source_scale": 1.0})
    assert Quantize(1.0, 0)(x).tolist() == [[2, 2, 2]]
    assert layer(x).tolist() == loaded(x).tolist() == [[1, 1, 1]]
    with pytest.raises(ModelError, match="mean of 0 bytes"):
        QuantizeMean(pixels=0)


@pytest.mark.parametrize(("scale", "zero"), [(0.0, 0), (-1.0, 0), (float("inf"), 0), (1.0, -1), (1.0, 256)])
def test_scale_and_zero_point_are_checked(scale: float, zero: int) -> None:
    with pytest.raises(ModelError, match="expected a scale above 0 and a byte"):
        Quantize(scale, zero)
