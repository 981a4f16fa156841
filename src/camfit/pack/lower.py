"""From a network to the engine's ops: batch-norm folded, activations fused, dropout gone.

Folding multiplies the batch-norm's scale into dense weights; weights in any other form keep their values and carry the
scale as a vector beside the bias, because scaled filters would no longer share one codebook.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.forms import Form, Sign, form_of, stored_of
from camfit.layers import BinaryConv2d, BinaryLinear, pair
from camfit.network import INPUT, Add, Concat, Network, Node

ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.ReLU6: 2}


@dataclass
class Weight:
    """A weight on its way into the file: dense, or a form with its stored tensor. ``role``: weight, scale or bias."""

    role: str
    layer: str
    values: Tensor
    form: Form | None = None
    stored: Tensor | None = None


@dataclass
class Op:
    """One op of the file. ``inputs`` are value numbers; ``weights`` stand in the op's order, None for a missing one."""

    op: str
    name: str
    inputs: list[int]
    attributes: list[int] = field(default_factory=list)
    weights: list[Weight | None] = field(default_factory=list)


def lower(network: Network) -> list[Op]:
    """The network's ops in execution order.

    Raises:
        ModelError: a layer that the engine has no op for; names it.
    """
    return _Lowering(network).ops()


class _Lowering:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = network.shapes()
        self.values: dict[str, int] = {INPUT: 0}
        self.result: list[Op] = []
        self.done: set[str] = set()

    def ops(self) -> list[Op]:
        for node in self.network.nodes:
            if node.name not in self.done:
                self._node(node)
        if not self.result or self.values[self.network.nodes[-1].name] != len(self.result):
            raise ModelError("the network's last layer computes nothing that the engine could return")
        return self.result

    # -- helpers -----------------------------------------------------------------------------------------------

    def _emit(self, op: Op, last: Node) -> None:
        self.result.append(op)
        self.values[last.name] = len(self.result)

    def _inputs(self, node: Node) -> list[int]:
        return [self.values[name] for name in node.inputs]

    def _next(self, node: Node, *kinds: type[nn.Module]) -> Node | None:
        """The only reader of the node's value, when it is of one of these kinds. Dropout is passed over."""
        readers = self.network.consumers(node.name)
        if len(readers) != 1 or node is self.network.nodes[-1]:
            return None
        layer = self.network.get_submodule(readers[0].layer)
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            further = self._next(readers[0], *kinds)
            if further is not None:
                self.done.add(readers[0].name)
            return further
        return readers[0] if isinstance(layer, kinds) else None

    def _activation(self, node: Node) -> tuple[int, Node]:
        """(activation code, last fused node) behind a node."""
        reader = self._next(node, *ACTIVATIONS)
        if reader is None:
            return 0, node
        self.done.add(reader.name)
        return ACTIVATIONS[_kind(self.network.get_submodule(reader.layer))], reader

    def _node(self, node: Node) -> None:
        layer = self.network.get_submodule(node.layer)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            self._weighted(node, layer)
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            scale, shift = _affine(layer)
            code, last = self._activation(node)
            vectors: list[Weight | None] = [_vector("scale", node.layer, scale), _vector("bias", node.layer, shift)]
            self._emit(Op("affine", node.name, self._inputs(node), [code], vectors), last)
        elif isinstance(layer, nn.ReLU | nn.ReLU6):
            self._emit(Op("activation", node.name, self._inputs(node), [ACTIVATIONS[_kind(layer)]]), node)
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            self._pool(node, layer)
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            self._emit(Op("global_avg_pool", node.name, self._inputs(node)), node)
        elif isinstance(layer, Add):
            code, last = self._activation(node)
            self._emit(Op("add", node.name, self._inputs(node), [code]), last)
        elif isinstance(layer, Concat):
            self._emit(Op("concat", node.name, self._inputs(node)), node)
        elif isinstance(layer, nn.ChannelShuffle):
            self._emit(Op("channel_shuffle", node.name, self._inputs(node), [layer.groups]), node)
        elif isinstance(layer, nn.Flatten):
            self._emit(Op("flatten", node.name, self._inputs(node)), node)
        elif isinstance(layer, nn.Softmax):
            self._emit(Op("softmax", node.name, self._inputs(node)), node)
        elif isinstance(layer, nn.Dropout | nn.Dropout2d):
            self.values[node.name] = self.values[node.inputs[0]]
        else:
            raise ModelError(f"layer {node.layer!r} ({type(layer).__name__}): the engine has no op for it")

    def _weighted(self, node: Node, layer: nn.Conv2d | nn.Linear) -> None:
        form = form_of(layer)
        binary = isinstance(layer, BinaryConv2d | BinaryLinear)
        if binary and not isinstance(form, Sign):
            raise ModelError(
                f"layer {node.layer!r}: a binary layer's weight must have the form sign, "
                f"found {form.name if form else 'dense'}"
            )
        weight = layer.weight.detach()
        scale: Tensor | None = None
        bias = None if layer.bias is None else layer.bias.detach().double()
        last = node
        norm = self._next(node, nn.BatchNorm2d, nn.BatchNorm1d)
        # A normalisation that several layers share is still folded into each: it is the same affine map.
        if norm is not None:
            scale, shift = _affine(self.network.get_submodule(norm.layer))
            bias = shift if bias is None else scale * bias + shift
            self.done.add(norm.name)
            last = norm
        if scale is not None and form is None:
            weight = (weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))).float()
            scale = None
        code, last = self._activation(last)
        stored = stored_of(layer).detach() if form is not None else None
        weights = [
            Weight("weight", node.layer, weight, form, stored),
            None if scale is None else _vector("scale", node.layer, scale),
            None if bias is None else _vector("bias", node.layer, bias),
        ]
        if isinstance(layer, nn.Conv2d):
            kh, kw = layer.kernel_size
            (top, left), (dh, dw) = pair(layer.padding), pair(layer.dilation)
            attributes = [
                layer.out_channels,
                kh,
                kw,
                *pair(layer.stride),
                top,
                left,
                top,
                left,
                dh,
                dw,
                layer.groups,
                code,
            ]
            name = "binary_conv2d" if binary else "conv2d"
        else:
            attributes = [layer.out_features, code]
            name = "binary_linear" if binary else "linear"
        if isinstance(layer, BinaryConv2d | BinaryLinear):
            attributes.append(int(layer.scale_input))
        self._emit(Op(name, node.name, self._inputs(node), attributes, weights), last)

    def _pool(self, node: Node, layer: nn.MaxPool2d | nn.AvgPool2d) -> None:
        (kh, kw), (sh, sw), (top, left) = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
        height, width = self.shapes[node.inputs[0]][1:]
        out_height, out_width = self.shapes[node.name][1:]
        # Ceil mode lets the last window hang over the edge: the same as more padding at the bottom and right.
        bottom = max(top, (out_height - 1) * sh + kh - height - top)
        right = max(left, (out_width - 1) * sw + kw - width - left)
        attributes = [kh, kw, sh, sw, top, left, bottom, right]
        if isinstance(layer, nn.MaxPool2d):
            self._emit(Op("max_pool", node.name, self._inputs(node), attributes), node)
            return
        include = layer.count_include_pad
        if include and (bottom > top or right > left):
            if top or left:
                raise ModelError(
                    f"layer {node.layer!r}: average pooling with padding, ceil_mode and count_include_pad; "
                    "the engine has two of the three"
                )
            include = False  # torch never counts the overhang
        self._emit(Op("avg_pool", node.name, self._inputs(node), [*attributes, int(include)]), node)


def _kind(layer: nn.Module) -> type[nn.Module]:
    return nn.ReLU6 if isinstance(layer, nn.ReLU6) else nn.ReLU


def _vector(role: str, layer: str, values: Tensor) -> Weight:
    return Weight(role, layer, values.float())


@torch.no_grad()
def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """(scale, shift) of a batch-norm in evaluation mode, float64."""
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale
