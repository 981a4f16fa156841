"""Random networks for tests: every layer that camfit knows, in every arrangement that it can trace, cut, pack and run.

Three ways in, one generator:

- ``random_network(seed)``: the same network for the same seed, for loops over many seeds and for shrinking by hand;
- ``networks()``: a hypothesis strategy, which shrinks a failure to a small network;
- ``plain(network)``: the same computation as an ordinary ``nn.Module`` with a ``forward`` of its own, to be traced.

``with_forms(network, seed)`` puts the weights of a network into random forms, ``quantized(network, seed)`` the network
into int8; ``inputs(network, seed)`` draws images.
Networks are in evaluation mode, small (at most some thousand weights), with batch-norm statistics and scales far from
the identity (negative ones too), and their values stay of order one so that tolerances mean something.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from camfit.forms import Codebook, Form, Hashed, Masked, Sign, attach
from camfit.layers import BinaryConv2d, BinaryLinear
from camfit.method import Calibration
from camfit.methods.precision.int8 import Int8
from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Node, Slice
from camfit.surgery import apply

T = TypeVar("T")


class Choices(Protocol):
    """Where the generator's decisions come from."""

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        ...

    def one_of(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        ...


@dataclass(frozen=True)
class Allowed:
    """What the generator may use; everything but binary layers by default.

    Attributes:
        binary: binary convolutions and linear layers, in form sign.
        shared: layers called twice.
        softmax: a soft-max at the end.
        image_output: networks that end in an image instead of a vector.
        vector_input: networks that start from a vector.
        norm: batch-norm.
        pixels: channels laid out as pixels in blocks of any shape, cropped: more than a module of torch's does.
        wide: up to 64 channels, larger images, kernels of 5 and vectors of 160: what blocked kernels are made for.
    """

    binary: bool = False
    shared: bool = True
    softmax: bool = True
    image_output: bool = True
    vector_input: bool = True
    norm: bool = True
    pixels: bool = True
    wide: bool = False


DEFAULT = Allowed()


def random_network(seed: int, allowed: Allowed = DEFAULT) -> Network:
    """The network of this seed."""
    return _Builder(_Seeded(seed), allowed).network()


@st.composite
def networks(draw: st.DrawFn, allowed: Allowed = DEFAULT) -> Network:
    """Strategy of random networks."""
    return _Builder(_Drawn(draw), allowed).network()


def plain(network: Network) -> nn.Module:
    """An ordinary module that computes what the network computes and shares its layers."""
    return _Plain(network).eval()


def inputs(network: Network, seed: int, count: int = 2) -> Tensor:
    """Normal images [count, C, H, W] (or vectors [count, F]) of the network's precision."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, *network.input_shape, generator=generator, dtype=torch.float64)
    return images.to(next(network.parameters()).dtype)


def with_forms(
    network: Network, seed: int, forms: Sequence[str] = ("dense", "masked", "codebook", "hashed", "sign")
) -> Network:
    """A copy with each weighted layer in one of the named forms; binary layers keep their signs."""
    result = network.clone()
    chosen = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in result.weighted().values():
        if not isinstance(layer, BinaryConv2d | BinaryLinear):
            form, stored = random_form(chosen.choice(list(forms)), layer.weight.detach(), chosen, generator)
            attach(layer, form, stored)
    return result


def quantized(network: Network, seed: int, options: Int8 | None = None) -> Network:
    """The network in int8, calibrated on random images; by default with options drawn by the seed."""
    chosen = random.Random(seed)
    options = options or Int8(
        weights=chosen.choice(["channel", "tensor"]),
        weight_bits=chosen.choice([8, 8, 7, 4]),
        activations=chosen.choice(["affine", "symmetric"]),
        calibration=chosen.choice(["min-max", "percentile", "mse", "entropy"]),
        equalise=chosen.random() < 0.5,
        bias_correction=chosen.random() < 0.5,
        keep=tuple(path for path in list(network.weighted())[1:] if chosen.random() < 0.1),
    )
    x = inputs(network, seed + 1, 4)
    return apply(network, options.plan(network, Calibration(x, torch.zeros(len(x), dtype=torch.int64), seed)))


def random_form(
    name: str, weight: Tensor, chosen: random.Random, generator: torch.Generator
) -> tuple[Form | None, Tensor]:
    """A form of this name for a dense weight, with what it stores."""
    alive = torch.rand(weight.shape, generator=generator) < chosen.choice([0.1, 0.5, 0.9])
    if name == "masked":
        return Masked(alive), weight
    if name == "codebook":
        entries = chosen.choice([1, 2, 5, 16])
        index = torch.randint(0, entries, weight.shape, generator=generator)
        values = torch.randn(entries, generator=generator).to(weight) * weight.std(correction=0)
        return Codebook(torch.where(alive, index, -1), entries), values
    if name == "hashed":
        buckets = max(1, weight.numel() // chosen.choice([1, 3, 8]))
        form = Hashed(tuple(weight.shape), buckets, chosen.randrange(1 << 32))
        return form, torch.randn(buckets, generator=generator).to(weight) * weight.std(correction=0)
    return (Sign(), weight) if name == "sign" else (None, weight)


# -- sources of decisions --------------------------------------------------------------------------------------


class _Seeded:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one_of(self, options: Sequence[T]) -> T:
        return self._random.choice(options)


class _Drawn:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def one_of(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))


# -- the generator ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """A node's name and the shape of its value for one image."""

    name: str
    shape: tuple[int, ...]


class _Builder:
    """Grows a chain of layers from the input to the output, with branches that leave it and come back."""

    def __init__(self, choices: Choices, allowed: Allowed) -> None:
        self.choices = choices
        self.allowed = allowed
        self.nodes: list[Node] = []
        self.layers: dict[str, nn.Module] = {}
        self.earlier: list[_Value] = []

    def network(self) -> Network:
        self.generator = torch.Generator().manual_seed(self.choices.integer(0, 1 << 20))
        shape = self._input_shape()
        x = _Value(INPUT, shape)
        if len(shape) == 3:
            for _ in range(self.choices.integer(1, 5)):
                x = self._image_step(x)
                self.earlier.append(x)
            if self.allowed.image_output and self._chance(8):
                x = self._conv(x, binary=False)
            else:
                x = self._vector_tail(self._to_vector(x))
        else:
            x = self._vector_tail(x)
        return Network(tuple(self.nodes), self.layers, shape).eval()

    def _input_shape(self) -> tuple[int, ...]:
        if self.allowed.vector_input and self._chance(10):
            return (self.choices.integer(2, 12) if not self.allowed.wide else self._width(),)
        if self.allowed.wide:
            return (self.choices.one_of([1, 3, 16]), self.choices.integer(6, 18), self.choices.integer(6, 18))
        return (self.choices.integer(1, 3), self.choices.integer(4, 10), self.choices.integer(4, 10))

    def _image_step(self, x: _Value) -> _Value:
        steps = [
            self._conv_block,
            self._conv_block,
            self._residual,
            self._concat,
            self._pool,
            self._depthwise,
            self._long_skip,
            self._shuffle,
            self._split,
        ]
        if self.allowed.pixels:
            steps.append(self._upsample)
        if self.allowed.shared:
            steps.append(self._shared)
        return self.choices.one_of(steps)(x)

    # -- steps that take an image to an image ------------------------------------------------------------------

    def _conv_block(self, x: _Value) -> _Value:
        return self._finish(self._conv(x))

    def _finish(self, x: _Value) -> _Value:
        """Batch-norm, activation and dropout, each or not, in the usual order."""
        if self._chance(2):
            x = self._norm(x)
        kind = self.choices.one_of(["none", "relu", "relu6"])
        if kind != "none":
            x = self._add(kind, nn.ReLU() if kind == "relu" else nn.ReLU6(), x)
        if self._chance(6):
            p = 0.25
            x = self._add("dropout", nn.Dropout2d(p) if len(x.shape) == 3 and self._chance(2) else nn.Dropout(p), x)
        return x

    def _residual(self, x: _Value) -> _Value:
        """Two convolutions around a shortcut, which a 1x1 convolution projects or nothing does."""
        project = self._chance(2)
        outputs = self._channels() if project else x.shape[0]
        y = self._finish(self._conv(x, same=True))
        y = self._norm(self._conv(y, outputs=outputs, same=True))
        shortcut = self._conv(x, outputs=outputs, kernel=(1, 1), same=True, binary=False) if project else x
        pair = (y, shortcut) if self._chance(2) else (shortcut, y)
        return self._finish(self._add("add", Add(), *pair))

    def _concat(self, x: _Value) -> _Value:
        """Two or three branches of one size side by side; a branch may be the input itself."""
        branches = [self._finish(self._conv(x, same=True)) for _ in range(self.choices.integer(1, 2))]
        branches.insert(self.choices.integer(0, len(branches)), x if self._chance(2) else self._conv(x, same=True))
        return self._add("concat", Concat(), *branches)

    def _long_skip(self, x: _Value) -> _Value:
        """Joins an earlier value of the same size, by addition where the channels match."""
        fitting = [value for value in self.earlier if value.shape[1:] == x.shape[1:] and value.name != x.name]
        if not fitting:
            return self._conv_block(x)
        other = self.choices.one_of(fitting)
        return self._add("add", Add(), x, other) if other.shape == x.shape else self._add("concat", Concat(), x, other)

    def _shared(self, x: _Value) -> _Value:
        """One convolution (and one activation) called twice in a row, or on two branches that are then added."""
        layer = self._conv_layer(x.shape[0], x.shape[0], same=True)
        path = self._place("conv", layer)
        relu = self._place("relu", nn.ReLU())
        if self._chance(2):
            for _ in range(2):
                x = self._call(relu, self._call(path, x))
            return x
        left = self._call(relu, self._call(path, x))
        right = self._call(path, self._norm(x))
        return self._add("add", Add(), left, right)

    def _depthwise(self, x: _Value) -> _Value:
        """A depth-wise convolution, with a channel multiplier at times, and a pointwise one."""
        multiplier = self.choices.one_of([1, 1, 2])
        y = self._finish(self._conv(x, outputs=x.shape[0] * multiplier, groups=x.shape[0], binary=False))
        return self._finish(self._conv(y, kernel=(1, 1), binary=False))

    def _shuffle(self, x: _Value) -> _Value:
        """A channel shuffle, at times between two grouped convolutions, of as many groups or of others."""
        groups = self.choices.one_of([2, 3, 4])
        if self._chance(3):
            y = self._finish(self._conv(x, outputs=groups * self.choices.integer(2, 4), groups=1))
        else:
            wide = x
            if x.shape[0] % groups:
                wide = self._conv(x, outputs=groups * self.choices.integer(1, 3), kernel=(1, 1), same=True)
            y = self._finish(self._conv(wide, outputs=groups * self.choices.integer(2, 4), groups=groups, binary=False))
        y = self._add("shuffle", nn.ChannelShuffle(groups), y)
        if self._chance(2):
            return y
        groups = self.choices.one_of([g for g in (groups, 2, 3, 4) if y.shape[0] % g == 0])
        outputs = groups * self.choices.integer(1, 3)
        return self._finish(self._conv(y, outputs=outputs, kernel=(1, 1), groups=groups, same=True, binary=False))

    def _split(self, x: _Value) -> _Value:
        """Two parts of the channels, at times with some left over; they are joined, added or one of them goes on."""
        if x.shape[0] < 2:
            return self._conv_block(x)
        if self._chance(3):
            count = x.shape[0] // 2
            firsts = [self.choices.integer(0, x.shape[0] - count) for _ in range(2)]
            left, right = (self._slice(x, first, count) for first in firsts)
            return self._add("add", Add(), left, self._finish(self._conv(right, outputs=count, same=True)))
        at = self.choices.integer(1, x.shape[0] - 1)
        left, right = self._slice(x, 0, at), self._slice(x, at, x.shape[0] - at)
        if self._chance(3):
            return self._conv_block(right)
        right = self._finish(self._conv(right, same=True)) if self._chance(2) else right
        return self._add("concat", Concat(), *((left, right) if self._chance(2) else (right, left)))

    def _slice(self, x: _Value, first: int, count: int) -> _Value:
        return self._add("slice", Slice(first, count), x)

    def _upsample(self, x: _Value) -> _Value:
        """A convolution, or whatever there is, with its channels laid out as pixels, as transposed convolutions are."""
        high, wide = self.choices.one_of([(2, 2), (2, 2), (1, 2), (3, 1)])
        if x.shape[1] * x.shape[2] > 40:
            x = self._add("max_pool", nn.MaxPool2d(2), x)
        y = x
        if x.shape[0] % (high * wide) or self._chance(2):
            groups = self.choices.one_of([1, 1, x.shape[0]])
            y = self._conv(x, outputs=high * wide * groups * self.choices.integer(1, 2), groups=groups, binary=False)
        edges = [self.choices.integer(0, 1) for _ in range(4)]
        crop = (min(edges[0], high - 1), min(edges[1], wide - 1), 0, 0)
        if y.shape[1] * high > 2 and y.shape[2] * wide > 2:
            crop = (*crop[:2], *edges[2:])
        return self._finish(self._add("pixels", DepthToSpace((high, wide), crop), y))

    def _pool(self, x: _Value) -> _Value:
        height, width = x.shape[1:]
        kernel = (min(height, self.choices.integer(1, 3)), min(width, self.choices.integer(1, 3)))
        stride = (self.choices.integer(1, 3), self.choices.integer(1, 3))
        padding = (self.choices.integer(0, kernel[0] // 2), self.choices.integer(0, kernel[1] // 2))
        if self._chance(2):
            ceil = self._chance(4)
            return self._add("max_pool", nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), x)
        return self._add("avg_pool", nn.AvgPool2d(kernel, stride, padding, count_include_pad=self._chance(2)), x)

    # -- vectors -----------------------------------------------------------------------------------------------

    def _to_vector(self, x: _Value) -> _Value:
        most = 4000 if self.allowed.wide else 400
        if self._chance(3) or x.shape[0] * x.shape[1] * x.shape[2] > most:
            x = self._add("global_pool", nn.AdaptiveAvgPool2d(1), x)
        return self._add("flatten", nn.Flatten(1), x)

    def _vector_tail(self, x: _Value) -> _Value:
        for _ in range(self.choices.integer(0, 2)):
            kind = self.choices.one_of(["plain", "plain", "residual", "concat"])
            y = self._finish(self._linear(x, self._width() if self.allowed.wide else self.choices.integer(2, 9)))
            if kind == "residual":
                x = self._add("add", Add(), y, self._linear(x, y.shape[0]))
            elif kind == "concat":
                x = self._add("concat", Concat(), y, self._linear(x, self.choices.integer(1, 4)))
            else:
                x = y
        x = self._linear(x, self.choices.integer(2, 5), binary=False)
        if self.allowed.softmax and self._chance(4):
            x = self._add("softmax", nn.Softmax(1), x)
        return x

    # -- single layers -----------------------------------------------------------------------------------------

    def _channels(self) -> int:
        # Full registers, and those that are not.
        return self.choices.one_of([8, 16, 32, 64, 48, 24, 11, 37]) if self.allowed.wide else self.choices.integer(1, 8)

    def _width(self) -> int:
        return self.choices.one_of([16, 64, 100, 160])

    def _conv(
        self,
        x: _Value,
        outputs: int | None = None,
        kernel: tuple[int, int] | None = None,
        groups: int | None = None,
        same: bool = False,
        binary: bool | None = None,
    ) -> _Value:
        if binary is None:
            binary = self.allowed.binary and self._chance(2)
        outputs = self._channels() if outputs is None else outputs
        layer = self._conv_layer(x.shape[0], outputs, x.shape[1:], kernel, groups, same, binary)
        return self._add("conv", layer, x)

    def _conv_layer(
        self,
        channels: int,
        outputs: int,
        size: tuple[int, ...] = (),
        kernel: tuple[int, int] | None = None,
        groups: int | None = None,
        same: bool = False,
        binary: bool = False,
    ) -> nn.Module:
        """A convolution that fits an image of ``size``; ``same`` keeps the size."""
        dilation, stride = (1, 1), (1, 1)
        if same:
            sizes = [1, 3, 3, 5] if self.allowed.wide else [1, 3]
            kernel = kernel or (self.choices.one_of(sizes), self.choices.one_of(sizes))
            if self._chance(6):
                dilation = (2, 2)
            padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        else:
            kernel = kernel or (self.choices.integer(1, 3), self.choices.integer(1, 3))
            padding = (self.choices.integer(0, kernel[0] - 1), self.choices.integer(0, kernel[1] - 1))
            stride = (self.choices.one_of([1, 1, 2]), self.choices.one_of([1, 1, 2]))
            dilation = (self.choices.one_of([1, 1, 2]), self.choices.one_of([1, 1, 2]))
            # Shrink what does not fit the image.
            dilation, kernel = _fitting(size, kernel, padding, dilation)
        bias = self._chance(2)
        if binary and (groups or 1) == 1:
            layer: nn.Module = BinaryConv2d(
                channels, outputs, kernel, stride, padding, dilation, bias, scale_input=self._chance(2)
            )
            return self._signs(layer)
        if groups is None:
            divisors = [g for g in range(1, channels + 1) if channels % g == 0 and outputs % g == 0]
            groups = self.choices.one_of(divisors) if self._chance(3) else 1
        layer = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups, bias)
        return self._initialised(layer)

    def _linear(self, x: _Value, outputs: int, binary: bool | None = None) -> _Value:
        if binary is None:
            binary = self.allowed.binary and self._chance(2)
        bias = self._chance(2)
        if binary:
            layer = self._signs(BinaryLinear(x.shape[0], outputs, bias, scale_input=self._chance(2)))
        else:
            layer = self._initialised(nn.Linear(x.shape[0], outputs, bias))
        return self._add("linear", layer, x)

    def _norm(self, x: _Value) -> _Value:
        if not self.allowed.norm:
            return x
        channels = x.shape[0]
        layer = nn.BatchNorm2d(channels) if len(x.shape) == 3 else nn.BatchNorm1d(channels)
        signs = self._uniform(channels, -0.3, 1.0).sign()
        with torch.no_grad():
            layer.weight.copy_(self._uniform(channels, 0.5, 1.5) * signs)
            layer.bias.copy_(self._uniform(channels, -0.5, 0.5))
            layer.running_mean.copy_(self._uniform(channels, -0.5, 0.5))
            layer.running_var.copy_(self._uniform(channels, 0.5, 2.0))
        return self._add("norm", layer, x)

    def _initialised(self, layer: nn.Conv2d | nn.Linear) -> nn.Module:
        with torch.no_grad():
            fan_in = layer.weight[0].numel()
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=self.generator) * (1.5 / fan_in) ** 0.5)
            if layer.bias is not None:
                layer.bias.copy_(self._uniform(layer.bias.numel(), -0.5, 0.5))
        return layer

    def _signs(self, layer: nn.Module) -> nn.Module:
        assert isinstance(layer, BinaryConv2d | BinaryLinear)
        self._initialised(layer)
        attach(layer, Sign(), layer.weight.detach())
        return layer

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return torch.rand(count, generator=self.generator) * (high - low) + low

    # -- nodes -------------------------------------------------------------------------------------------------

    def _chance(self, one_in: int) -> bool:
        return self.choices.integer(0, one_in - 1) == one_in - 1

    def _place(self, kind: str, layer: nn.Module) -> str:
        path = f"{kind}{sum(p.startswith(kind) for p in self.layers) + 1}"
        self.layers[path] = layer
        return path

    def _add(self, kind: str, layer: nn.Module, *parts: _Value) -> _Value:
        return self._call(self._place(kind, layer), *parts)

    @torch.no_grad()
    def _call(self, path: str, *parts: _Value) -> _Value:
        count = sum(node.layer == path for node in self.nodes)
        name = path if count == 0 else f"{path}@{count + 1}"
        self.nodes.append(Node(name, path, tuple(part.name for part in parts)))
        made = self.layers[path].eval()(*(torch.zeros(1, *part.shape) for part in parts))
        return _Value(name, tuple(made.shape[1:]))


def _fitting(
    size: tuple[int, ...], kernel: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(dilation, kernel) made smaller where they would not fit into the padded image."""
    dilations, kernels = list(dilation), list(kernel)
    for axis in range(2):
        room = size[axis] + 2 * padding[axis]
        if dilations[axis] * (kernels[axis] - 1) >= room:
            dilations[axis] = 1
        kernels[axis] = min(kernels[axis], room)
    return (dilations[0], dilations[1]), (kernels[0], kernels[1])


class _Plain(nn.Module):
    """Calls a network's layers in order, without being a network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.nodes = network.nodes
        self.place = {path: number for number, path in enumerate(network.layer_paths())}
        self.parts = nn.ModuleList(layer for _, layer in network.layers())

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x}
        for node in self.nodes:
            values[node.name] = self.parts[self.place[node.layer]](*(values[name] for name in node.inputs))
        return values[self.nodes[-1].name]
