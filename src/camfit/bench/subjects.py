"""What is timed: networks with fresh, seeded weights, each in the shapes that several engines take.

Times do not depend on what the weights are worth, so nothing is trained; batch-norms get statistics of random images.
Weights are drawn from a normal distribution, as trained ones nearly are: few of a layer's weights then use the full
range of an integer, while uniform ones would make the AVX2 kernel for bytes split most of them in two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from camfit import zoo
from camfit.forms import Codebook, Hashed, Sign, attach, stored_of
from camfit.forms.sign import sign
from camfit.layers import BinaryConv2d
from camfit.method import Calibration
from camfit.methods.binarization.xnor_net import XnorNet
from camfit.methods.precision.int8 import Int8
from camfit.network import Network, Node
from camfit.surgery import apply
from camfit.trace import trace

SEED = 0

# Deep Compression's LeNet-5 (Han, Mao, Dally, ICLR 2016): 8 % of the weights, 8 bits in convolutions, 5 elsewhere.
_DENSITY = {"conv1": 0.66, "conv2": 0.12, "fc1": 0.08, "fc2": 0.19}
_ENTRIES = {"conv1": 256, "conv2": 256, "fc1": 32, "fc2": 32}
_HASHED_TO = 8
_KEPT, _VALUES = 0.1, 16  # of the sparse networks: share of the weights, and what these may be

# Key, title, architecture, input shape and classes of the networks timed as they are, by their work.
_FLOAT = (
    ("lenet300", "LeNet-300-100, 1×28×28", "lenet_300_100", (1, 28, 28), 10),
    ("lenet5", "LeNet-5, 1×28×28", "lenet5", (1, 28, 28), 10),
    ("resnet20", "ResNet-20, 3×32×32", "resnet20", (3, 32, 32), 10),
    ("vgg-small", "VGG-small, 3×32×32", "vgg_small", (3, 32, 32), 10),
    ("mobilenet", "MobileNet v1 0.25, 3×96×96", "mobilenet_v1_025", (3, 96, 96), 1000),
    ("shufflenet", "ShuffleNet v1, 3 groups, 3×224×224", "shufflenet_v1", (3, 224, 224), 1000),
    ("mobilenet-v2", "MobileNet v2, 3×224×224", "mobilenet_v2", (3, 224, 224), 1000),
    ("squeezenet", "SqueezeNet 1.1, 3×224×224", "squeezenet_1_1", (3, 224, 224), 1000),
    ("mobilenet-v1", "MobileNet v1, 3×224×224", "mobilenet_v1", (3, 224, 224), 1000),
    ("alexnet", "AlexNet, 3×224×224", "alexnet", (3, 224, 224), 1000),
    ("resnet18", "ResNet-18, 3×224×224", "resnet18", (3, 224, 224), 1000),
)

# camfit's integer forms of the networks above.
_INT8 = (("int8", Int8()), ("int8, 7-bit weights", Int8(weight_bits=7)))
_CALIBRATION = 32  # images

Kind = Literal["camfit", "peers", "plain loop"]


@dataclass(frozen=True)
class Entry:
    """A network and the image [1, C, H, W] that it gets.

    Attributes:
        kind: who runs it. What is for the peers is dense and float.
        name: tells a subject's entries apart.
        rounded_from: the float network that ``network`` is the integer form of; None for a float network.
    """

    kind: Kind
    name: str
    network: Network
    image: Tensor
    rounded_from: Network | None = field(default=None, repr=False)

    @torch.no_grad()
    def expected(self) -> Tensor:
        """What torch computes, in float: [C, H, W] or [F]."""
        return (self.rounded_from or self.network)(self.image)[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Subject:
    """One comparison; ``build`` makes its entries."""

    key: str
    title: str
    build: Callable[[], tuple[Entry, ...]]


def subjects() -> tuple[Subject, ...]:
    """All comparisons, in the order of the table."""
    return (
        Subject("call", "nothing: ReLU of one value", lambda: _same(_one_relu())),
        *(_float(*row) for row in _FLOAT),
        Subject("lenet5-codebook", "LeNet-5, 8 % of the weights, codebooks", lambda: _same(_shared())),
        Subject("lenet5-hashed", "LeNet-5, hashed to 1/8", lambda: _same(_hashed())),
        *(
            Subject(f"fc-{'blocks' if block > 1 else 'sparse'}-{cin}", title, partial(_sparse_linear, cin, block))
            for cin in (4096, 25088)
            for block, title in (
                (1, f"linear {cin}→4096, 10 % of the weights, 16 values"),
                (8, f"linear {cin}→4096, 10 % of the weights in blocks of 8×1, 16 values"),
            )
        ),
        Subject("fc-hashed-4096", "linear 4096→4096, hashed to 1/64", _hashed_linear),
        *(
            Subject(f"{key}-sparse", f"{title}, 10 % of the weights, 16 values", partial(_sparse_network, name, shape))
            for key, title, name, shape, _ in _FLOAT
            if key in ("resnet20", "vgg-small")
        ),
        Subject(
            "alexnet-sparse", "AlexNet, 3×224×224, 10 % of the weights of linear layers, 16 values", _sparse_classifier
        ),
        Subject("binary", "convolution 3×3, 256→256, 14×14", _binary),
        Subject("vgg-small-xnor", "VGG-small as XNOR-Net plans it, 3×32×32", _binary_network),
    )


def _float(key: str, title: str, name: str, shape: tuple[int, int, int], classes: int) -> Subject:
    return Subject(key, title, partial(_precisions, name, shape, classes))


def _precisions(name: str, shape: tuple[int, int, int], classes: int) -> tuple[Entry, ...]:
    """The network in float32 and in integers."""
    network = _zoo(name, shape, classes)
    image = _image(network)
    integer = [Entry("camfit", form, _rounded(network, method), image, network) for form, method in _INT8]
    return Entry("camfit", "float32", network, image), *integer, Entry("peers", "", network, image)


def _rounded(network: Network, method: Int8) -> Network:
    """Layers whose weights are in a codebook stay as they are."""
    inputs = torch.rand(_CALIBRATION, *network.input_shape, generator=torch.Generator().manual_seed(SEED))
    calibration = Calibration(inputs, torch.zeros(len(inputs), dtype=torch.int64))
    return apply(network, method.plan(network, calibration)).eval()


def _image(network: Network) -> Tensor:
    return torch.rand(1, *network.input_shape, generator=torch.Generator().manual_seed(SEED))


def _same(network: Network) -> tuple[Entry, ...]:
    """camfit runs the network in its forms, peers the same values, dense."""
    image = _image(network)
    return Entry("camfit", "", network, image), Entry("peers", "", network, image)


def _one_relu() -> Network:
    return Network((Node("relu", "relu", ("input",)),), {"relu": nn.ReLU()}, (1, 1, 1)).eval()


@torch.no_grad()
def _zoo(name: str, shape: tuple[int, int, int], classes: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = trace(zoo.build(name, shape, classes), shape)
        for layer in network.weighted().values():
            weight = stored_of(layer)
            weight.normal_(std=float(weight.std()))
        _know_statistics(network)
    return network.eval()


def _know_statistics(network: Network) -> None:
    """Batch-norms get the statistics of random images; the network is left in training mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0
    network.train()
    network(torch.rand(16, *network.input_shape, generator=torch.Generator().manual_seed(SEED)))


@torch.no_grad()
def _shared() -> Network:
    """The largest weights of each layer, at the nearest of evenly spread values."""
    network = _zoo("lenet5", (1, 28, 28), 10)
    for path, layer in network.weighted().items():
        weight, count = stored_of(layer).detach(), _ENTRIES[path]
        kept = weight.abs() >= weight.abs().flatten().kthvalue(round(weight.numel() * (1 - _DENSITY[path]))).values
        low, high = float(weight[kept].min()), float(weight[kept].max())
        step = (high - low) / (count - 1)
        index = ((weight - low) / step).round().clamp(0, count - 1).to(torch.int64)
        attach(layer, Codebook(torch.where(kept, index, -1), count), low + step * torch.arange(count))
    return network


@torch.no_grad()
def _hashed() -> Network:
    network = _zoo("lenet5", (1, 28, 28), 10)
    for number, layer in enumerate(network.weighted().values()):
        weight = stored_of(layer).detach()
        form = Hashed(tuple(weight.shape), weight.numel() // _HASHED_TO, SEED + number)
        attach(layer, form, form.project(weight))
    return network


def _sparse_codebook(layer: nn.Module, weight: Tensor, block: int = 1) -> None:
    """A tenth of the weights at random, in blocks of output channels, at the nearest of 16 evenly spread values."""
    generator = torch.Generator().manual_seed(SEED)
    places = torch.rand(-(-len(weight) // block), *weight.shape[1:], generator=generator) < _KEPT
    kept = places.repeat_interleave(block, 0)[: len(weight)]
    low, high = float(weight.min()), float(weight.max())
    step = (high - low) / (_VALUES - 1)
    index = ((weight - low) / step).round().clamp(0, _VALUES - 1).to(torch.int64)
    attach(layer, Codebook(torch.where(kept, index, -1), _VALUES), low + step * torch.arange(_VALUES))


@torch.no_grad()
def _linear(cin: int, cout: int) -> tuple[Network, nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Linear(cin, cout)
    nodes = (Node("flat", "flat", ("input",)), Node("fc", "fc", ("flat",)))
    return Network(nodes, {"flat": nn.Flatten(), "fc": layer}, (cin, 1, 1)).eval(), layer


@torch.no_grad()
def _sparse_linear(cin: int, block: int) -> tuple[Entry, ...]:
    network, layer = _linear(cin, 4096)
    _sparse_codebook(layer, layer.weight.detach().clone(), block)
    return _same(network)


@torch.no_grad()
def _hashed_linear() -> tuple[Entry, ...]:
    network, layer = _linear(4096, 4096)
    weight = layer.weight.detach().clone()
    form = Hashed(tuple(weight.shape), weight.numel() // 64, SEED)
    attach(layer, form, form.project(weight))
    return _same(network)


@torch.no_grad()
def _sparse_network(name: str, shape: tuple[int, int, int]) -> tuple[Entry, ...]:
    """All weights but those of the first layer; the batch-norms know the sparse network's statistics."""
    network = _zoo(name, shape, 10)
    for number, layer in enumerate(network.weighted().values()):
        if number:
            _sparse_codebook(layer, stored_of(layer).detach().clone())
    _know_statistics(network)
    return _same(network.eval())


@torch.no_grad()
def _sparse_classifier() -> tuple[Entry, ...]:
    """Of AlexNet's 61.1 million weights 58.6 are in linear layers: those as Deep Compression leaves them."""
    network = _zoo("alexnet", (3, 224, 224), 1000)
    for layer in network.weighted().values():
        if isinstance(layer, nn.Linear):
            _sparse_codebook(layer, stored_of(layer).detach().clone())
    image = _image(network)
    integer = Entry("camfit", "int8 convolutions", _rounded(network, Int8()), image, network)
    return Entry("camfit", "float32", network, image), integer, Entry("peers", "", network, image)


@torch.no_grad()
def _binary() -> tuple[Entry, ...]:
    """XNOR on real input, and float convolutions that compute the same from its signs."""
    channels, size = 256, 14
    generator = torch.Generator().manual_seed(SEED)
    image = torch.randn(1, channels, size, size, generator=generator)
    weight = torch.randn(channels, channels, 3, 3, generator=generator)
    networks = []
    for scale_input in (False, True):
        layer = BinaryConv2d(channels, channels, (3, 3), padding=(1, 1), bias=False, scale_input=scale_input)
        attach(layer, Sign(), weight)
        networks.append(_single(layer, (channels, size, size)))
    dense = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    dense.weight.copy_(networks[0].get_submodule("conv").weight)  # type: ignore[arg-type]
    float_network = _single(dense, (channels, size, size))
    return (
        Entry("camfit", "binary", networks[0], image),
        Entry("camfit", "binary, input scaled by K", networks[1], image),
        Entry("peers", "float", float_network, sign(image)),
        Entry("plain loop", "float", float_network, sign(image)),
    )


@torch.no_grad()
def _binary_network() -> tuple[Entry, ...]:
    """All layers but the first and the last binary, and the float network that they were made from, for the peers.

    Batch-norms get biases, as training gives them: sums of signs are whole numbers, and without a bias one that is
    the mean itself would be at the threshold, where rounding decides.
    """
    shape = (3, 32, 32)
    network = _zoo("vgg_small", shape, 10)
    image = _image(network)
    calibration = Calibration(image, torch.zeros(1, dtype=torch.int64))
    forms = []
    for name, scale_input in (("binary", False), ("binary, inputs scaled by K", True)):
        binary = apply(network, XnorNet(scale_input=scale_input).plan(network, calibration))
        generator = torch.Generator().manual_seed(SEED)
        for module in binary.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.bias.normal_(std=0.1, generator=generator)
        _know_statistics(binary)
        forms.append(Entry("camfit", name, binary.eval(), image))
    return *forms, Entry("peers", "float", network, image)


def _single(layer: nn.Module, shape: tuple[int, ...]) -> Network:
    return Network((Node("conv", "conv", ("input",)),), {"conv": layer}, shape).eval()
