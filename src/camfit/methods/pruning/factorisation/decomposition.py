"""What the decompositions of a layer have in common: a ladder of ranks, what each costs and keeps, and its factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from camfit.forms import weight_of
from camfit.layers import pair
from camfit.network import Network

L = TypeVar("L", nn.Conv2d, nn.Linear)
Ranks = tuple[int, ...]
Factors = tuple[tuple[str, nn.Module], ...]


@dataclass(frozen=True)
class Pixels:
    """Places at which one layer works in one image, all its calls counted.

    Attributes:
        inputs: rows × columns of what it reads.
        between: rows of its output × columns of what it reads.
        outputs: rows × columns of its output.
    """

    inputs: int
    between: int
    outputs: int

    @staticmethod
    def of(network: Network, path: str, shapes: dict[str, tuple[int, ...]]) -> Pixels:
        """Those of a layer, given the network's ``shapes()``; 1 each for a call on a vector."""
        inputs = between = outputs = 0
        for call in network.calls(path):
            _, height, width = (*shapes[call.inputs[0]], 1, 1)[:3]
            _, out_height, out_width = (*shapes[call.name], 1, 1)[:3]
            inputs += height * width
            between += out_height * width
            outputs += out_height * out_width
        return Pixels(inputs, between, outputs)


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of one image, and weights (biases not counted)."""

    macs: int
    weights: int

    def below(self, other: Costs) -> bool:
        """True where neither is above the other's, and one is below."""
        return self.macs <= other.macs and self.weights <= other.weights and self != other


class Decomposition(ABC):
    """One layer's ways to become a chain of layers.

    Attributes:
        name: of the decomposition.
        parts: what each number of its ranks is called.
        largest: ranks at which nothing is lost (an upper bound where the exact ones are unknown).
        ladder: ranks worth a look, from the least on; neither costs nor energy fall along it.
    """

    name: str
    parts: tuple[str, ...]
    largest: Ranks
    ladder: tuple[Ranks, ...]

    @abstractmethod
    def energy(self, ranks: Ranks) -> float:
        """Fraction of the weight's squared norm that these ranks keep at least."""

    @abstractmethod
    def costs(self, ranks: Ranks, pixels: Pixels) -> Costs:
        """What the factors cost."""

    @abstractmethod
    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        """The layers, in the precision of the one they replace, and the fraction of the squared norm that they keep."""

    @abstractmethod
    def vbmf(self) -> Ranks:
        """Ranks by variational Bayesian matrix factorisation, at least 1 each."""


@dataclass(frozen=True)
class Window:
    """Stride, padding and dilation of a convolution, split over an axis where factors share them."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @staticmethod
    def of(layer: nn.Conv2d) -> Window:
        """Those of the layer."""
        return Window(pair(layer.stride), pair(layer.padding), pair(layer.dilation))

    def rows(self) -> Window:
        """Of a kernel of one column."""
        return Window((self.stride[0], 1), (self.padding[0], 0), (self.dilation[0], 1))

    def columns(self) -> Window:
        """Of a kernel of one row."""
        return Window((1, self.stride[1]), (0, self.padding[1]), (1, self.dilation[1]))


POINT = Window((1, 1), (0, 0), (1, 1))


def convolution(
    weight: Tensor, window: Window, like: nn.Conv2d, bias: Tensor | None = None, groups: int = 1
) -> nn.Conv2d:
    """A convolution with this weight [cout, cin / groups, rows, columns], in the precision of ``like``'s."""
    rows, columns = weight.shape[2:]
    layer = nn.Conv2d(
        weight.shape[1] * groups, weight.shape[0], (rows, columns), window.stride, window.padding, window.dilation,
        groups, bias is not None, device="meta",
    )  # fmt: skip
    return _filled(layer, weight, bias, weight_of(like))


def linear(weight: Tensor, like: nn.Linear, bias: Tensor | None = None) -> nn.Linear:
    """A linear layer with this weight, in the precision of ``like``'s."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    return _filled(layer, weight, bias, weight_of(like))


def _filled(layer: L, weight: Tensor, bias: Tensor | None, like: Tensor) -> L:
    layer.weight = nn.Parameter(weight.detach().to(like).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().to(like).clone())
    return layer


def whole_costs(layer: nn.Conv2d | nn.Linear, pixels: Pixels) -> Costs:
    """What the layer costs as it is."""
    size = weight_of(layer).numel()
    return Costs(size * pixels.outputs, size)
