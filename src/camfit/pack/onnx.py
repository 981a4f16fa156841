"""Network or packed file -> ONNX model: for other runtimes, on the very graph that the engine runs.

The graph is the lowered one (:mod:`camfit.pack.lower`): batch-norm folded, activations behind their layer, no dropout.
Weights are written with their dense values, whatever form they live in; integer ops as float ones between pairs of
QuantizeLinear and DequantizeLinear (QDQ), with 8-bit weights and 32-bit biases, which runtimes turn into their own
integer kernels. ONNX rounds halves to even, the engine up: a byte may differ by one there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from camfit.errors import ModelError
from camfit.forms import Sign
from camfit.network import Network
from camfit.pack.integer import float_bits, float_of
from camfit.pack.lower import Op, lower
from camfit.pack.read import Contents

if TYPE_CHECKING:  # onnx is an extra: imported where a model is written
    from onnx import NodeProto, TensorProto

Attributes = dict[str, int | list[int]]

OPSET = 17
_IR_VERSION = 8  # the one that came with opset 17
_RELU, _RELU6 = 1, 2
# Ops that give bytes where they take bytes.
_MOVING = ("max_pool", "avg_pool", "concat", "activation", "channel_shuffle", "flatten")
_OF_IMAGES = (
    "conv2d",
    "binary_conv2d",
    "int8_conv2d",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "int8_global_avg_pool",
    "channel_shuffle",
)
_OF_VECTORS = ("linear", "binary_linear", "int8_linear", "softmax")
_SIGN_CONSTANTS = (("one", 1.0), ("minus_one", -1.0), ("zero", 0.0))


def to_onnx(network: Network) -> bytes:
    """Writes a network as an ONNX model (opset 17).

    Args:
        network: in any mix of forms. A soft-max at its end stays.

    Returns:
        A serialised ``ModelProto``. Its input is called ``input`` and takes normalised images, float32 [N, C, H, W] (or
        vectors [N, F]); its output is called ``output``. The batch dimension N is free.

    Raises:
        ModelError: the package ``onnx`` is missing, or a layer has no op in a packed file either.
    """
    _require_onnx()
    ops = lower(network)
    shapes = network.shapes()
    writer = _Writer("input", len(shapes["input"]))
    # Behind an op that fused others stands the last of them, of the same shape; dequantize has no node, and needs none.
    writer.write_all(ops, [shapes.get(op.name, ()) for op in ops])
    return writer.model(network.input_shape, shapes[network.nodes[-1].name])


def contents_to_onnx(contents: Contents) -> bytes:
    """Writes a packed file's network as an ONNX model (opset 17), the normalisation of its input included.

    Returns:
        A serialised ``ModelProto``. Its input is called ``input`` and takes images on the raw scale of the data,
        float32 [N, C, H, W] (or vectors [N, F]); its output is called ``output``. N is free. The metadata hold the
        file's INFO.

    Raises:
        ModelError: the package ``onnx`` is missing.
    """
    _require_onnx()
    shapes = [(channels, height, width) for height, width, channels in contents.shapes]
    # A file does not tell a vector from an image of one pixel.
    rank = 1 if shapes[0][1:] == (1, 1) else 3
    writer = _Writer("normalised", rank)
    writer.normalise(contents.scale, contents.shift)
    writer.write_all(contents.ops, shapes[1:])
    output_rank = writer.ranks["output"]
    metadata = {"camfit": json.dumps(contents.info, sort_keys=True, ensure_ascii=False)}
    return writer.model(shapes[0][:rank], shapes[-1][:output_rank], metadata)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ModelError(f'writing ONNX needs the package onnx ({error}); pip install "camfit[bench]"') from error


class _Writer:
    """Turns lowered ops into ONNX nodes, one or a few each.

    ``first`` is the value that the ops call 0, of rank 3 where it is an image, else 1 (the batch is not counted).
    """

    def __init__(self, first: str, rank: int) -> None:
        self.ranks = {first: rank}
        self.names = [first]
        # Scale and zero point of the values that are bytes in the engine.
        self.bytes: dict[str, tuple[float, int]] = {}
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def model(
        self, input_shape: Sequence[int], output_shape: Sequence[int], metadata: dict[str, str] | None = None
    ) -> bytes:
        """The serialised model of what has been written."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "camfit",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *input_shape])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", *output_shape])],
            self.constants,
        )
        model = helper.make_model(
            graph, producer_name="camfit", ir_version=_IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        helper.set_model_props(model, metadata or {})
        data: bytes = model.SerializeToString()
        return data

    def normalise(self, scale: Sequence[float], shift: Sequence[float]) -> None:
        """Appends the way from ``input`` to the value 0."""
        rank = self.ranks[self.names[0]]
        constants = [
            self._constant(f"input.{name}", _along(torch.tensor(values), rank))
            for name, values in (("scale", scale), ("shift", shift))
        ]
        self._node("Mul", ["input", constants[0]], "input.scaled")
        self._node("Add", ["input.scaled", constants[1]], self.names[0])

    def write_all(self, ops: Sequence[Op], shapes: Sequence[tuple[int, ...]]) -> None:
        """Appends all ops of a network; ``shapes`` are those of their values, channels first."""
        for number, (op, shape) in enumerate(zip(ops, shapes, strict=True), 1):
            self.write(op, "output" if number == len(ops) else f"value{number}", shape)

    def write(self, op: Op, output: str, shape: tuple[int, ...]) -> None:
        """Appends the op; its value is called ``output`` and has this shape."""
        inputs = [self.names[number] for number in op.inputs]
        if op.op in _OF_IMAGES:
            inputs = [self._with_rank(name, 3) for name in inputs]
        elif op.op in _OF_VECTORS:
            inputs = [self._with_rank(name, 1) for name in inputs]
        elif len({self.ranks[name] for name in inputs}) > 1:
            inputs = [self._with_rank(name, 3) for name in inputs]
        rank = 1 if op.op == "flatten" else self.ranks[inputs[0]]
        source = self.bytes.get(inputs[0])
        if op.op == "quantize":
            self._bytes(inputs[0], output, op.attributes)
        elif op.op == "dequantize":
            self._node("Identity", inputs, output)
        elif op.op in ("int8_conv2d", "int8_linear"):
            self._integer(op, inputs[0], output)
        elif op.op == "int8_add":
            self._activated("Add", inputs, f"{output}.float", op.attributes[0])
            self._bytes(f"{output}.float", output, op.attributes)
        elif op.op == "int8_global_avg_pool":
            self._node("GlobalAveragePool", inputs, f"{output}.float")
            self._bytes(f"{output}.float", output, op.attributes)
        elif op.op == "avg_pool" and source is not None:
            self._pool(op, inputs[0], f"{output}.float")
            self._bytes(f"{output}.float", output, [float_bits(source[0]), source[1]])
        elif op.op in ("conv2d", "linear"):
            self._weighted(op, inputs[0], output)
        elif op.op in ("binary_conv2d", "binary_linear"):
            self._binary(op, inputs[0], output)
        elif op.op in ("max_pool", "avg_pool"):
            self._pool(op, inputs[0], output)
        elif op.op == "global_avg_pool":
            self._node("GlobalAveragePool", inputs, output)
        elif op.op == "add":
            self._activated("Add", inputs, output, op.attributes[0])
        elif op.op == "concat":
            self._node("Concat", inputs, output, {"axis": 1})
        elif op.op == "activation":
            self._activation(inputs[0], output, op.attributes[0])
        elif op.op == "affine":
            self._affine(op, inputs[0], output, rank)
        elif op.op == "channel_shuffle":
            self._shuffle(inputs[0], output, shape, op.attributes[0])
        elif op.op == "flatten":
            self._node("Flatten", inputs, output, {"axis": 1})
        elif op.op == "softmax":
            self._node("Softmax", inputs, output, {"axis": 1})
        else:
            raise ModelError(f"layer {op.name!r}: no ONNX for the op {op.op!r}")
        self.ranks[output] = rank
        self.names.append(output)
        if source is not None and op.op in _MOVING:
            self.bytes[output] = source

    # -- layers with weights -----------------------------------------------------------------------------------

    def _weighted(self, op: Op, x: str, output: str) -> None:
        weight, scale, bias = op.weights
        assert weight is not None
        values = weight.values
        if scale is not None:
            values = (values.double() * _rows(scale.values.double(), values.dim())).float()
        inputs = [x, self._constant(f"{output}.weight", values)]
        if bias is not None:
            inputs.append(self._constant(f"{output}.bias", bias.values))
        if op.op == "conv2d":
            self._activated("Conv", inputs, output, op.attributes[12], _window(op))
        else:
            self._activated("Gemm", inputs, output, op.attributes[1], {"transB": 1})

    def _integer(self, op: Op, x: str, output: str) -> None:
        weight, scale, bias = op.weights
        assert weight is not None and scale is not None
        scales = self._constant(f"{output}.scale", scale.values)
        self._integers(f"{output}.integers", weight.values, np.int8)
        self._node("DequantizeLinear", [f"{output}.integers", scales], f"{output}.weight", {"axis": 0})
        inputs = [x, f"{output}.weight"]
        if bias is not None:
            sizes = self.bytes[x][0] * scale.values.double()
            self._integers(f"{output}.sums", torch.floor(bias.values.double() / sizes + 0.5), np.int32)
            steps = self._constant(f"{output}.steps", sizes.float())
            self._node("DequantizeLinear", [f"{output}.sums", steps], f"{output}.bias", {"axis": 0})
            inputs.append(f"{output}.bias")
        image = op.op == "int8_conv2d"
        y = f"{output}.float" if op.attributes[-2] else output
        if image:
            self._activated("Conv", inputs, y, op.attributes[12], _window(op))
        else:
            self._activated("Gemm", inputs, y, op.attributes[1], {"transB": 1})
        if op.attributes[-2]:
            self._bytes(y, output, op.attributes)

    def _bytes(self, x: str, output: str, attributes: list[int]) -> None:
        """x through bytes and back; the last two attributes are scale and zero point."""
        scale, zero = float_of(attributes[-2]), attributes[-1]
        constants = [
            self._scalar(f"{output}.step", scale),
            self._integers(f"{output}.zero", torch.tensor(zero), np.uint8),
        ]
        self._node("QuantizeLinear", [x, *constants], f"{output}.bytes")
        self._node("DequantizeLinear", [f"{output}.bytes", *constants], output)
        self.bytes[output] = scale, zero

    def _binary(self, op: Op, x: str, output: str) -> None:
        """scale · α · K ⊙ (signs ⊛ sign(x)) + bias. Sums of ±1 are exact, so they are taken before α."""
        weight, scale, bias = op.weights
        assert weight is not None and isinstance(weight.form, Sign)
        image, scale_input = op.op == "binary_conv2d", op.attributes[-1]
        alpha = weight.values.abs().flatten(1).amax(1).double()
        signs = torch.where(weight.values >= 0, 1.0, -1.0)
        factor = alpha if scale is None else alpha * scale.values.double()
        one, minus_one, zero = (self._scalar(f"{output}.{name}", value) for name, value in _SIGN_CONSTANTS)
        self._node("GreaterOrEqual", [x, zero], f"{output}.sign_bit")
        self._node("Where", [f"{output}.sign_bit", one, minus_one], f"{output}.sign")
        inputs = [f"{output}.sign", self._constant(f"{output}.weight", signs)]
        if image:
            self._node("Conv", inputs, f"{output}.sums", _window(op))
        else:
            self._node("Gemm", inputs, f"{output}.sums", {"transB": 1})
        rank = 3 if image else 1
        y = f"{output}.y"
        self._node("Mul", [f"{output}.sums", self._constant(f"{output}.scale", _along(factor.float(), rank))], y)
        if scale_input:
            self._node("Mul", [y, self._input_scale(op, x, output, image)], f"{output}.scaled")
            y = f"{output}.scaled"
        code = op.attributes[12] if image else op.attributes[1]
        if bias is None:
            self._activation(y, output, code)
        else:
            self._activated("Add", [y, self._constant(f"{output}.bias", _along(bias.values, rank))], output, code)

    def _input_scale(self, op: Op, x: str, output: str, image: bool) -> str:
        """XNOR-Net's K: the channel mean of |x|, for an image under a box filter of the kernel's size."""
        self._node("Abs", [x], f"{output}.magnitude")
        self._node("ReduceMean", [f"{output}.magnitude"], f"{output}.mean", {"axes": [1], "keepdims": 1})
        if not image:
            return f"{output}.mean"
        kh, kw = op.attributes[1:3]
        box = self._constant(f"{output}.box", torch.full((1, 1, kh, kw), 1.0 / (kh * kw)))
        self._node("Conv", [f"{output}.mean", box], f"{output}.k", _window(op))
        return f"{output}.k"

    def _affine(self, op: Op, x: str, output: str, rank: int) -> None:
        scale, bias = op.weights
        if scale is not None:
            self._node("Mul", [x, self._constant(f"{output}.scale", _along(scale.values, rank))], f"{output}.scaled")
            x = f"{output}.scaled"
        if bias is None:
            self._activation(x, output, op.attributes[0])
        else:
            shift = self._constant(f"{output}.bias", _along(bias.values, rank))
            self._activated("Add", [x, shift], output, op.attributes[0])

    # -- others ------------------------------------------------------------------------------------------------

    def _pool(self, op: Op, x: str, output: str) -> None:
        kh, kw, sh, sw, *pads = op.attributes[:8]
        window: Attributes = {"kernel_shape": [kh, kw], "strides": [sh, sw], "pads": pads}
        if op.op == "avg_pool":
            window["count_include_pad"] = op.attributes[8]
        self._node("MaxPool" if op.op == "max_pool" else "AveragePool", [x], output, window)

    def _shuffle(self, x: str, output: str, shape: tuple[int, ...], groups: int) -> None:
        """[N, g, c/g, H, W] with g and c/g swapped, back to [N, c, H, W]."""
        channels, *size = shape
        split = self._shape(f"{output}.split_shape", [0, groups, channels // groups, *size])
        joined = self._shape(f"{output}.joined_shape", [0, channels, *size])
        self._node("Reshape", [x, split], f"{output}.split")
        self._node("Transpose", [f"{output}.split"], f"{output}.swapped", {"perm": [0, 2, 1, 3, 4]})
        self._node("Reshape", [f"{output}.swapped", joined], output)

    def _with_rank(self, name: str, rank: int) -> str:
        """The value as an image, or as a vector; an image of one pixel may be either to the engine."""
        if self.ranks[name] == rank:
            return name
        other = f"{name}.as_image" if rank == 3 else f"{name}.as_vector"
        if other not in self.ranks:
            self.ranks[other] = rank
            if name in self.bytes:
                self.bytes[other] = self.bytes[name]
            if rank == 3:
                self._node("Reshape", [name, self._shape(f"{other}.shape", [0, -1, 1, 1])], other)
            else:
                self._node("Flatten", [name], other, {"axis": 1})
        return other

    def _activated(
        self, kind: str, inputs: Sequence[str], output: str, code: int, attributes: Attributes | None = None
    ) -> None:
        """A node and the activation behind it."""
        before = f"{output}.linear" if code else output
        self._node(kind, inputs, before, attributes)
        if code:
            self._activation(before, output, code)

    def _activation(self, x: str, output: str, code: int) -> None:
        if code == _RELU:
            self._node("Relu", [x], output)
        elif code == _RELU6:
            limits = [self._scalar(f"{output}.low", 0.0), self._scalar(f"{output}.high", 6.0)]
            self._node("Clip", [x, *limits], output)
        else:
            self._node("Identity", [x], output)

    def _node(self, kind: str, inputs: Sequence[str], output: str, attributes: Attributes | None = None) -> None:
        from onnx import helper

        node = helper.make_node(kind, list(inputs), [output], output)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in (attributes or {}).items())
        self.nodes.append(node)

    def _scalar(self, name: str, value: float) -> str:
        return self._constant(name, torch.tensor(value))

    def _shape(self, name: str, shape: list[int]) -> str:
        """A shape as a constant; 0 is the dimension as it is."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(shape, dtype=np.int64), name))
        return name

    def _integers(self, name: str, values: Tensor, kind: type[np.integer[Any]]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values.detach().cpu().numpy()).astype(kind), name))
        return name

    def _constant(self, name: str, values: Tensor) -> str:
        from onnx import numpy_helper

        array = np.asarray(values.detach().cpu().numpy(), dtype=np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _window(op: Op) -> Attributes:
    """A convolution's attributes by their ONNX names."""
    kh, kw, sh, sw, top, left, bottom, right, dh, dw, groups = op.attributes[1:12]
    return {
        "kernel_shape": [kh, kw],
        "strides": [sh, sw],
        "pads": [top, left, bottom, right],
        "dilations": [dh, dw],
        "group": groups,
    }


def _rows(vector: Tensor, dim: int) -> Tensor:
    """A vector along the first of ``dim`` dimensions."""
    return vector.reshape(-1, *[1] * (dim - 1))


def _along(vector: Tensor, rank: int) -> Tensor:
    """A vector along the channels of a batch whose values have ``rank`` dimensions each."""
    return vector.reshape(1, -1, *[1] * (rank - 1))
