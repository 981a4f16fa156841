"""Networks whose file has about 10 MB, one for each kind of weights: what loading takes by kind."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from camfit.bench.subjects import SEED, Entry
from camfit.forms import Codebook, Sign, attach
from camfit.layers import BinaryConv2d
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import Network, Node
from camfit.surgery import apply

_CALIBRATION = 4  # images


@torch.no_grad()
def entries() -> Iterator[tuple[str, Entry]]:
    """(title, network with an image), the first three convolutions, then linear layers, then binary convolutions."""
    yield "10 MB of convolutions, float32", _entry(_convolutions(256, 550))
    yield "10 MB of convolutions, int8", _integers(_convolutions(540, 500))
    yield "10 MB of 5-bit codes, equally likely", _entry(_shared(1.0, 3900, even=True))
    yield "10 MB of 5-bit codes, normal", _entry(_shared(1.0, 4400, even=False))
    yield "10 MB of 5-bit codes, 13 % of the weights", _entry(_shared(0.13, 4300, even=False))
    yield "10 MB of signs, real input", _entry(_signs())
    yield "10 MB of signs, binary input", _entry(_binary())


def _entry(network: Network) -> Entry:
    generator = torch.Generator().manual_seed(SEED)
    return Entry("camfit", "", network, torch.rand(1, *network.input_shape, generator=generator))


def _chain(layers: dict[str, nn.Module], shape: tuple[int, ...]) -> Network:
    nodes, before = [], "input"
    for name in layers:
        nodes.append(Node(name, name, (before,)))
        before = name
    return Network(tuple(nodes), layers, shape).eval()


def _convolutions(channels: int, last: int) -> Network:
    """Four 3×3 convolutions of so many channels, normal weights, and one 1×1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layers: dict[str, nn.Module] = {f"conv{n}": nn.Conv2d(channels, channels, 3, padding=1) for n in range(4)}
        layers["last"] = nn.Conv2d(channels, last, 1)
        for layer in layers.values():
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return _chain(layers, (channels, 14, 14))


def _integers(network: Network) -> Entry:
    images = torch.rand(_CALIBRATION, *network.input_shape, generator=torch.Generator().manual_seed(SEED))
    plan = Int8().plan(network, Calibration(images, torch.zeros(_CALIBRATION, dtype=torch.int64)))
    return Entry("camfit", "", apply(network, plan).eval(), images[:1], network)


def _linear(cout: int, cin: int = 4096) -> tuple[nn.Linear, Network]:
    layer = nn.Linear(cin, cout)
    return layer, _chain({"flat": nn.Flatten(), "fc": layer}, (cin, 1, 1))


def _shared(density: float, cout: int, *, even: bool) -> Network:
    """A linear layer of 32 values: all equally likely, which no coder makes smaller, or as of normal weights."""
    layer, network = _linear(cout, 4096 if density == 1 else 4096 * 4)
    generator = torch.Generator().manual_seed(SEED)
    if even:
        index = torch.randint(32, layer.weight.shape, generator=generator)
    else:
        index = torch.randn(layer.weight.shape, generator=generator).mul_(5).add_(16).clamp_(0, 31).long()
    if density < 1:
        index[torch.rand(index.shape, generator=generator) >= density] = -1
    attach(layer, Codebook(index, 32), torch.linspace(-0.05, 0.05, 32))
    return network


def _signs() -> Network:
    layer, network = _linear(4800, 4096 * 4)
    attach(layer, Sign(), torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(SEED)))
    return network


def _binary() -> Network:
    """Two 3×3 convolutions of 2,100 channels."""
    channels = 2100
    layers: dict[str, nn.Module] = {}
    for number in range(2):
        layer = BinaryConv2d(channels, channels, (3, 3), padding=(1, 1), bias=False)
        weight = torch.randn(channels, channels, 3, 3, generator=torch.Generator().manual_seed(SEED + number))
        attach(layer, Sign(), weight)
        layers[f"conv{number}"] = layer
    return _chain(layers, (channels, 2, 2))
