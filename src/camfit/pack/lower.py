"""From a network to the engine's ops: batch-norm folded, activations fused, dropout gone.

Folding multiplies the batch-norm's scale into dense weights; weights in any other form keep their values and carry the
scale as a vector beside the bias, because scaled filters would no longer share one codebook.

Values behind a :class:`~camfit.layers.Quantize` are bytes. Layers with integer weights, additions and global averages
that lie between bytes become integer ops; layers that only move values take bytes as they are; ``quantize`` and
``dequantize`` stand wherever bytes meet a float op.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.forms import Form, Integer, Sign, form_of, stored_of
from camfit.layers import BinaryConv2d, BinaryLinear, Quantize, pair
from camfit.network import INPUT, Add, Concat, DepthToSpace, Network, Node, Slice
from camfit.pack.blocks import BlocksFirst, blocks_first
from camfit.pack.integer import Bytes, addition_fits, average_fits, results_fit, sum_limits, sums_fit

ACTIVATIONS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.ReLU6: 2}


@dataclass
class Weight:
    """A weight on its way into the file: dense, or a form with its stored tensor. ``role``: weight, scale or bias.

    ``values`` of an integer weight are the integers, and its scale is a vector of its own. ``exact`` vectors stay
    float32 whatever the packer is asked: scales of integers may be too small for binary16.
    """

    role: str
    layer: str
    values: Tensor
    form: Form | None = None
    stored: Tensor | None = None
    exact: bool = False


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
        self.network = blocks_first(network)
        self.shapes = self.network.shapes()
        self.values: dict[str, int] = {INPUT: 0}
        self.result: list[Op] = []
        self.done: set[str] = set()
        self.bytes: dict[int, Bytes] = {}
        self.floats: dict[int, int] = {}

    def ops(self) -> list[Op]:
        for node in self.network.nodes:
            if node.name not in self.done:
                self._node(node)
        if not self.result or self.values[self.network.nodes[-1].name] != len(self.result):
            raise ModelError("the network's last layer computes nothing that the engine could return")
        if len(self.result) in self.bytes:
            self._dequantize(len(self.result))
        return self.result

    # -- helpers -----------------------------------------------------------------------------------------------

    def _emit(self, op: Op, last: Node, made: Bytes | None = None) -> None:
        """Appends an op whose value is that of the node ``last``; ``made`` where it is bytes."""
        self.result.append(op)
        self.values[last.name] = len(self.result)
        if made is not None:
            self.bytes[len(self.result)] = made

    def _inputs(self, node: Node) -> list[int]:
        """The values that the node reads, as floats."""
        return [self._float(self.values[name]) for name in node.inputs]

    def _float(self, value: int) -> int:
        if value not in self.bytes:
            return value
        if value not in self.floats:
            self.floats[value] = self._dequantize(value)
        return self.floats[value]

    def _dequantize(self, value: int) -> int:
        self.result.append(Op("dequantize", f"{self.result[value - 1].name}.float", [value]))
        return len(self.result)

    def _bytes(self, node: Node) -> Bytes | None:
        """What all of the node's inputs are, where they are bytes of one meaning."""
        found = {self.bytes.get(self.values[name]) for name in node.inputs}
        return found.pop() if len(found) == 1 else None

    def _move(self, op: Op, node: Node) -> None:
        """Appends an op that takes bytes as they are."""
        made = self._bytes(node)
        op.inputs = self._inputs(node) if made is None else [self.values[name] for name in node.inputs]
        self._emit(op, node, made)

    def _next(self, node: Node, *kinds: type[nn.Module]) -> list[Node]:
        """The only reader of the node's value, when it is of one of these kinds, behind the dropout passed over."""
        readers = self.network.consumers(node.name)
        if len(readers) != 1 or node is self.network.nodes[-1]:
            return []
        layer = self.network.get_submodule(readers[0].layer)
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            further = self._next(readers[0], *kinds)
            return [readers[0], *further] if further else []
        return [readers[0]] if isinstance(layer, kinds) else []

    def _fuse(self, nodes: list[Node]) -> Node:
        """Marks the nodes as done with; returns the last."""
        self.done.update(node.name for node in nodes)
        return nodes[-1]

    def _activation(self, node: Node) -> tuple[int, Node]:
        """(activation code, last fused node) behind a node."""
        readers = self._next(node, *ACTIVATIONS)
        if not readers:
            return 0, node
        last = self._fuse(readers)
        return ACTIVATIONS[_kind(self.network.get_submodule(last.layer))], last

    def _target(self, last: Node) -> tuple[Bytes, list[Node]] | None:
        """(bytes, nodes) of a quantization that alone reads the value of ``last``."""
        readers = self._next(last, Quantize)
        if not readers:
            return None
        layer = self.network.get_submodule(readers[-1].layer)
        assert isinstance(layer, Quantize)
        return Bytes.of(layer), readers

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
            self._move(Op("activation", node.name, [], [ACTIVATIONS[_kind(layer)]]), node)
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            self._pool(node, layer)
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            self._average(node)
        elif isinstance(layer, Add):
            self._add(node)
        elif isinstance(layer, Quantize):
            self._quantize(node, Bytes.of(layer))
        elif isinstance(layer, Concat):
            self._move(Op("concat", node.name, []), node)
        elif isinstance(layer, nn.ChannelShuffle):
            self._move(Op("channel_shuffle", node.name, [], [layer.groups]), node)
        elif isinstance(layer, DepthToSpace):
            self._depth_to_space(node, layer)
        elif isinstance(layer, Slice):
            self._move(Op("slice", node.name, [], [layer.first, layer.count]), node)
        elif isinstance(layer, nn.Flatten):
            self._move(Op("flatten", node.name, []), node)
        elif isinstance(layer, nn.Softmax):
            self._emit(Op("softmax", node.name, self._inputs(node)), node)
        elif isinstance(layer, nn.Dropout | nn.Dropout2d):
            self.values[node.name] = self.values[node.inputs[0]]
        else:
            raise ModelError(f"layer {node.layer!r} ({type(layer).__name__}): the engine has no op for it")

    def _depth_to_space(self, node: Node, layer: DepthToSpace) -> None:
        channels = self.shapes[node.name][0]
        source = self.values[node.inputs[0]]
        made = self.bytes.get(source)
        if channels > 1 and not isinstance(layer, BlocksFirst):
            self.result.append(Op("channel_shuffle", f"{node.name}.blocks", [source], [channels]))
            source = len(self.result)
        self._emit(Op("depth_to_space", node.name, [source], [*layer.block, *layer.crop]), node, made)

    def _quantize(self, node: Node, made: Bytes) -> None:
        if self._bytes(node) == made:
            self.values[node.name] = self.values[node.inputs[0]]
        else:
            self._emit(Op("quantize", node.name, self._inputs(node), made.attributes), node, made)

    def _average(self, node: Node) -> None:
        source, target = self._bytes(node), self._target(node)
        height, width = self.shapes[node.inputs[0]][1:]
        if source is not None and target is not None and average_fits(height * width, source, target[0]):
            made, readers = target
            inputs = [self.values[node.inputs[0]]]
            self._emit(Op("int8_global_avg_pool", node.name, inputs, made.attributes), self._fuse(readers), made)
        else:
            self._emit(Op("global_avg_pool", node.name, self._inputs(node)), node)

    def _add(self, node: Node) -> None:
        code, last = self._activation(node)
        inputs = [self.values[name] for name in node.inputs]
        sources = [self.bytes[value] for value in inputs if value in self.bytes]
        target = self._target(last)
        if len(sources) == 2 and target is not None and addition_fits(sources[0], sources[1], target[0]):
            made, readers = target
            self._emit(Op("int8_add", node.name, inputs, [code, *made.attributes]), self._fuse(readers), made)
        else:
            self._emit(Op("add", node.name, self._inputs(node), [code]), last)

    def _integer(self, node: Node, layer: nn.Conv2d | nn.Linear, form: Integer) -> bool:
        """Appends the integer op, if the layer reads bytes and its sums fit; a batch-norm behind it stays."""
        source = self._bytes(node)
        weights = _integer_weights(node.layer, layer, form)
        weight, scale, bias = weights
        assert weight is not None and scale is not None
        if source is None:
            return False
        limits = sum_limits(weight.values, scale.values, None if bias is None else bias.values, source)
        if not sums_fit(limits):
            return False
        code, last = self._activation(node)
        target = self._target(last)
        made = None
        if target is not None and results_fit(limits, scale.values, source, target[0]):
            made, last = target[0], self._fuse(target[1])
        name = "int8_conv2d" if isinstance(layer, nn.Conv2d) else "int8_linear"
        attributes = [*_geometry(layer, code), *([0, 0] if made is None else made.attributes)]
        self._emit(Op(name, node.name, [self.values[node.inputs[0]]], attributes, weights), last, made)
        return True

    def _weighted(self, node: Node, layer: nn.Conv2d | nn.Linear) -> None:
        form = form_of(layer)
        if isinstance(form, Integer) and self._integer(node, layer, form):
            return
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
        if norm:
            last = self._fuse(norm)
            scale, shift = _affine(self.network.get_submodule(last.layer))
            bias = shift if bias is None else scale * bias + shift
        if isinstance(form, Integer):
            weight = form.integers(stored_of(layer)).float()
            scale = form.scale.double() if scale is None else form.scale.double() * scale
        if scale is not None and form is None:
            weight = (weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))).float()
            scale = None
        code, last = self._activation(last)
        stored = stored_of(layer).detach() if form is not None else None
        weights = [
            Weight("weight", node.layer, weight, form, stored),
            None if scale is None else _vector("scale", node.layer, scale, exact=isinstance(form, Integer)),
            None if bias is None else _vector("bias", node.layer, bias),
        ]
        attributes = _geometry(layer, code)
        name = "conv2d" if isinstance(layer, nn.Conv2d) else "linear"
        if binary:
            name = f"binary_{name}"
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
            self._move(Op("max_pool", node.name, [], attributes), node)
            return
        include = layer.count_include_pad
        if include and (bottom > top or right > left):
            if top or left:
                raise ModelError(
                    f"layer {node.layer!r}: average pooling with padding, ceil_mode and count_include_pad; "
                    "the engine has two of the three"
                )
            include = False  # torch never counts the overhang
        self._move(Op("avg_pool", node.name, [], [*attributes, int(include)]), node)


def _kind(layer: nn.Module) -> type[nn.Module]:
    return nn.ReLU6 if isinstance(layer, nn.ReLU6) else nn.ReLU


def _vector(role: str, layer: str, values: Tensor, *, exact: bool = False) -> Weight:
    return Weight(role, layer, values.float(), exact=exact)


def _geometry(layer: nn.Conv2d | nn.Linear, code: int) -> list[int]:
    """The attributes that say what a layer computes, its activation last."""
    if isinstance(layer, nn.Linear):
        return [layer.out_features, code]
    kh, kw = layer.kernel_size
    (top, left), (dh, dw) = pair(layer.padding), pair(layer.dilation)
    return [layer.out_channels, kh, kw, *pair(layer.stride), top, left, top, left, dh, dw, layer.groups, code]


def _integer_weights(path: str, layer: nn.Conv2d | nn.Linear, form: Integer) -> list[Weight | None]:
    stored = stored_of(layer).detach()
    return [
        Weight("weight", path, form.integers(stored).float(), form, stored),
        _vector("scale", path, form.scale.detach(), exact=True),
        None if layer.bias is None else _vector("bias", path, layer.bias.detach(), exact=True),
    ]


@torch.no_grad()
def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """(scale, shift) of a batch-norm in evaluation mode, float64."""
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale
