from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.forms import Integer, attach, weight_of
from camfit.layers import Quantize
from camfit.method import Calibration
from camfit.methods.precision.bias_correction import corrected
from camfit.methods.precision.int8 import Int8
from camfit.network import Network
from camfit.surgery import apply
from methods.chain import chain, linear
from networks import inputs, random_network


def test_the_mean_error_goes_into_the_bias() -> None:
    """W = (0.4, 1.3) becomes (0, 1): on the inputs (1, 1) and (3, 5) the errors are −0.7 and −2.7."""
    exact = chain((2,), fc=linear([[0.4, 1.3]]))
    exact.layer("fc").bias = nn.Parameter(torch.tensor([10.0]))
    rounded = exact.clone()
    attach(rounded.layer("fc"), Integer(torch.ones(1)), weight_of(exact.layer("fc")).detach())
    x = torch.tensor([[1.0, 1.0], [3.0, 5.0]])
    found = corrected(rounded, {"fc": exact(x).detach().mean(0)}, x)
    assert float(found.biases["fc"]) == pytest.approx(10 + 1.7)


@torch.no_grad()
def means(network: Network, x: Tensor) -> dict[str, Tensor]:
    """Mean of each output channel of each weighted layer that is called once."""
    values = network.values(x)
    return {
        path: values[network.calls(path)[0].name].transpose(0, 1).flatten(1).mean(1)
        for path in network.weighted()
        if len(network.calls(path)) == 1
    }


@pytest.mark.parametrize("seed", range(20))
def test_afterwards_no_channels_mean_is_off(seed: int) -> None:
    """A layer that is called twice stays as it is, and what lies behind it is corrected for it too."""
    network = random_network(seed).double()
    x = inputs(network, seed, 8)
    calibration = Calibration(x, torch.zeros(8, dtype=torch.int64))
    kept = Int8(bias_correction=False, weight_bits=4).plan(network, calibration)
    fixed = Int8(bias_correction=True, weight_bits=4).plan(network, calibration)
    exact = apply(network, type(fixed)("float", tuple(e for e in fixed if type(e).__name__ in ("Replace", "Remove"))))
    wanted, found, before = means(exact, x), means(apply(network, fixed), x), means(apply(network, kept), x)
    for path, mean in wanted.items():
        torch.testing.assert_close(found[path], mean, rtol=0, atol=1e-6)
    assert any(float((before[path] - mean).abs().max()) > 1e-3 for path, mean in wanted.items())


def test_values_that_become_bytes_are_taken_into_account() -> None:
    """The input 0.3 becomes 0: the layer's mean is off by its weight times 0.3."""
    exact = chain((1,), fc=linear([[2.0]]))
    exact.layer("fc").bias = nn.Parameter(torch.zeros(1))
    rounded = chain((1,), bytes=Quantize(1.0), fc=exact.clone().layer("fc"))
    found = corrected(rounded, {"fc": torch.tensor([0.6])}, torch.tensor([[0.3]]))
    assert float(found.biases["fc"]) == pytest.approx(0.6)
