from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from camfit.methods.precision.rounding import by_output, input_covariance, rounded_by_output


def test_inputs_that_move_together_share_the_error() -> None:
    """Two equal inputs see w0 + w1 = 0.8: nearest rounding gives 0 + 0, rounding for the output 0 + 1."""
    together = torch.ones(1, 2, 2)
    rows, scale = torch.tensor([[[0.4, 0.4]]]), torch.ones(1, 1)
    assert rounded_by_output(rows, scale, together, 7).tolist() == [[[0, 1]]]
    apart = torch.eye(2)[None]
    assert rounded_by_output(rows, scale, apart, 7).tolist() == [[[0, 0]]]


def test_what_exceeds_the_limit_is_handed_on() -> None:
    rows, scale = torch.tensor([[[2.4, 0.0]]]), torch.ones(1, 1)
    assert rounded_by_output(rows, scale, torch.ones(1, 2, 2), 1).tolist() == [[[1, 1]]]


@pytest.mark.parametrize("seed", range(10))
def test_between_the_best_and_the_nearest(seed: int) -> None:
    """On average over rows its error is below the nearest's, and never below that of the best of all choices."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(1, 4, 4, generator=generator)
    covariance = mixed @ mixed.transpose(1, 2)
    rows = 4 * torch.randn(1, 50, 4, generator=generator)
    scale = torch.ones(1, 50)

    def errors(found: torch.Tensor) -> torch.Tensor:
        off = (found - rows)[0].double()
        return ((off @ covariance[0].double()) * off).sum(1)

    found = rounded_by_output(rows, scale, covariance, 127)
    assert torch.equal(found, found.round())
    choices = torch.tensor(list(itertools.product(range(-2, 4), repeat=4)), dtype=torch.float32)
    off = rows[0].floor()[:, None] + choices - rows[0][:, None]
    best = torch.einsum("rci,ij,rcj->rc", off.double(), covariance[0].double(), off.double()).amin(1)
    assert errors(found).mean() < errors(rows.round()).mean()
    assert bool((errors(found) >= best - 1e-6).all())


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_covariance_gives_the_variance_of_the_output(groups: int) -> None:
    torch.manual_seed(groups)
    layer = nn.Conv2d(4, 8, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=groups, bias=False)
    x = torch.randn(5, 4, 9, 8)
    rows = layer.weight.detach().reshape(groups, 8 // groups, -1)
    rows = rows.double()
    variance = torch.einsum("gri,gij,grj->gr", rows, input_covariance(layer, x), rows).flatten()
    outputs = layer(x).detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(variance.float(), outputs.var(1, unbiased=False), rtol=1e-4, atol=1e-5)


def test_a_layers_output_is_nearer_than_with_each_weight_nearest() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, 3, groups=6, bias=False)
    x = 3 + torch.nn.functional.avg_pool2d(torch.randn(4, 6, 16, 16), 3, 1, 1)
    scale = layer.weight.detach().abs().amax((1, 2, 3)) / 7
    nearest = scale.reshape(-1, 1, 1, 1) * torch.floor(layer.weight.detach() / scale.reshape(-1, 1, 1, 1) + 0.5)
    found = by_output(layer, layer.weight.detach(), scale, 7, x)

    def noise(weight: torch.Tensor) -> float:
        off = nn.functional.conv2d(x, weight - layer.weight.detach(), groups=6).transpose(0, 1).flatten(1)
        return float(off.var(1).sum())

    assert noise(found) < 0.8 * noise(nearest)


def test_smooth_images_leave_a_covariance_that_can_be_inverted() -> None:
    """Slopes, whose nine neighbours are nearly one value: sums in float32 are then no covariance."""
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
    slope = torch.linspace(0, 3, 112)
    x = (slope[:, None] + slope).expand(2, 32, 112, 112) * torch.rand(1, 32, 1, 1)
    covariance = input_covariance(layer, x)
    torch.testing.assert_close(covariance, covariance.transpose(1, 2), rtol=1e-12, atol=1e-12)
    scale = layer.weight.detach().abs().amax((1, 2, 3)) / 127
    assert bool(by_output(layer, layer.weight.detach(), scale, 127, x).isfinite().all())
