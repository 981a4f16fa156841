"""The walk of a C export: every op becomes constants and calls of kernels."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from camfit.errors import ExportError
from camfit.export.c_constants import Constants, alphas
from camfit.pack.lower import Op, Weight
from camfit.pack.read import Contents, Shape

_MOST_BYTES = 2**31 - 1  # kernels count in int32_t
_FLOAT = 4
_INPUT = -1  # where the bytes of the input's normalisation are counted


class Program:
    """What the sources of one network are made of.

    Attributes:
        constants: weights, and the structs that describe layers.
        kernels: files of ``c/`` that the calls need.
        calls: the lines of a run, from the normalised input to the output.
        arena_bytes, input_at, output_at: the engine's plan, in bytes.
    """

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.constants = Constants()
        self.kernels: list[str] = ["float_arithmetic.h"]
        self.calls: list[str] = []
        plan = contents.engine.plan
        self.steps = {layer: [step[1:] for step in plan if step[0] == layer] for layer in range(len(contents.ops))}
        self.input_at, self.output_at = contents.engine.ends
        self.arena_bytes = contents.engine.memory["arena_bytes"]
        for number, shape in enumerate(contents.shapes):
            if int(np.prod(shape)) * _FLOAT > _MOST_BYTES:
                where = contents.ops[number - 1].name if number else "input"
                raise ExportError(f"{contents.source}: layer {where!r}: a value of more than 2 GiB")
        self._walk()

    @property
    def weight_bytes(self) -> int:
        """Of all constants."""
        return sum(self.constants.sizes.values())

    def bytes_of(self, layer: int | None) -> int:
        """Of the constants of a layer, by its place; None: of the input's normalisation."""
        return self.constants.sizes.get(_INPUT if layer is None else layer, 0)

    # -- the walk ----------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        contents = self.contents
        for what, values in (("scale", contents.scale), ("shift", contents.shift)):
            self.constants.array(_INPUT, f"input_{what}", np.array(values, np.float32))
        self._use("normalise_u8", "normalise_f32")
        for number, op in enumerate(contents.ops):
            shapes = [contents.shapes[value] for value in op.inputs]
            self.calls.append(f"  /* {number} {comment(op.name)}: {op.op}, {_size(contents.shapes[number + 1])} */")
            for line in self._op(number, op, shapes, contents.shapes[number + 1]):
                self.calls.extend(textwrap.wrap(line, 116, initial_indent="  ", subsequent_indent="      "))

    def _op(self, number: int, op: Op, shapes: list[Shape], out: Shape) -> list[str]:
        steps = self.steps[number]
        if not steps:
            return ["/* in the same order already */"]
        pixels, channels = shapes[0][0] * shapes[0][1], shapes[0][2]
        source, other, to = (floats_at(offset) for offset in steps[-1])
        ends = f"{source}, {to}"
        if op.op in ("conv2d", "linear"):
            return [self._weighted(number, op, shapes[0], out, ends)]
        if op.op in ("binary_conv2d", "binary_linear"):
            return self._binary(number, op, shapes[0], out)
        if op.op == "concat":
            return self._concat(number, shapes, out)
        self._use(op.op)
        if op.op in ("max_pool", "avg_pool"):
            window = self._window(number, op, shapes[0], out)
            padding = f"{op.attributes[8]}, " if op.op == "avg_pool" else ""
            return [f"{op.op}({window}, {padding}{ends});"]
        if op.op == "add":
            return [f"add({pixels * channels}, {op.attributes[0]}, {source}, {other}, {to});"]
        if op.op == "activation":
            return [f"activation({pixels * channels}, {op.attributes[0]}, {ends});"]
        if op.op == "affine":
            return [f"affine({pixels}, {channels}, {self._epilogue(number, op.weights, op.attributes[0])}, {ends});"]
        if op.op == "channel_shuffle":
            return [f"channel_shuffle({pixels}, {channels}, {op.attributes[0]}, {ends});"]
        if op.op == "softmax":
            return [f"softmax({channels}, {ends});"]
        return [f"{op.op}({pixels}, {channels}, {ends});"]  # global_avg_pool, flatten

    def _weighted(self, number: int, op: Op, into: Shape, out: Shape, ends: str) -> str:
        weight = op.weights[0]
        assert weight is not None
        conv = op.op == "conv2d"
        epilogue = self._epilogue(number, op.weights[1:], op.attributes[12 if conv else 1])
        if not conv:
            matrix = self.constants.matrix(number, weight)
            kernel = self._use_form("linear", matrix.kind)
            sizes = f"{out[2]}" if matrix.kind in ("sparse", "sign") else f"{into[2]}, {out[2]}"
            return f"{kernel}({sizes}, {matrix.argument}, {epilogue}, {ends});"
        window = self._window(number, op, into, out)
        groups = op.attributes[11]
        depthwise = self.constants.depthwise(number, weight) if 1 < groups == into[2] == out[2] else None
        matrix = depthwise or self.constants.matrix(number, weight, groups)
        kernel = self._use_form("depthwise" if depthwise else "conv2d", matrix.kind)
        return f"{kernel}({window}, {matrix.argument}, {epilogue}, {ends});"

    def _binary(self, number: int, op: Op, into: Shape, out: Shape) -> list[str]:
        """As the engine: signs, their scale K where it is wanted, then the convolution; a step each."""
        weight, scale, bias = op.weights
        assert weight is not None
        conv, scale_input = op.op == "binary_conv2d", op.attributes[-1]
        self._use("pack_signs", "binary_conv2d")
        # One rounded product, as the engine forms it at load.
        factor = alphas(weight) if scale is None else scale.values.numpy().astype(np.float32) * alphas(weight)
        scales = self.constants.array(number, f"layer{number}_scale", factor)
        bias_float, bias_half = self.constants.vector(number, bias)
        epilogue = self.constants.struct(
            "epilogue", f"layer{number}_epilogue", [scales, 0, bias_float, bias_half, op.attributes[12 if conv else 1]]
        )
        window = self._window(number, op, into, out)
        pack, *box, convolve = self.steps[number]
        mean = floats_at(pack[1]) if scale_input else "0"
        lines = [f"pack_signs({into[0] * into[1]}, {into[2]}, {floats_at(pack[0])}, {bytes_at(pack[2])}, {mean});"]
        if box:
            self._use("box_filter")
            lines.append(f"box_filter({window}, {floats_at(box[0][0])}, {floats_at(box[0][2])});")
        k = floats_at(convolve[1]) if scale_input else "0"
        signs = self.constants.signs(number, weight)
        call = f"binary_conv2d({window}, {signs}, {epilogue}, {bytes_at(convolve[0])}, {k}, {floats_at(convolve[2])});"
        return [*lines, call]

    def _concat(self, number: int, shapes: list[Shape], out: Shape) -> list[str]:
        self._use("copy_channels")
        lines, first = [], 0
        for shape, (source, _, to) in zip(shapes, self.steps[number], strict=True):
            place = floats_at(to + _FLOAT * first)
            lines.append(f"copy_channels({out[0] * out[1]}, {shape[2]}, {out[2]}, {floats_at(source)}, {place});")
            first += shape[2]
        return lines

    # -- arguments ---------------------------------------------------------------------------------------------

    def _window(self, number: int, op: Op, into: Shape, out: Shape) -> str:
        if op.op in ("conv2d", "binary_conv2d"):
            kh, kw, sh, sw, top, left, _, _, dh, dw, groups = op.attributes[1:12]
        elif op.op == "binary_linear":
            kh = kw = sh = sw = dh = dw = groups = 1
            top = left = 0
        else:
            kh, kw, sh, sw, top, left = op.attributes[:6]
            dh = dw = groups = 1
        values: list[object] = [*into, *out, kh, kw, sh, sw, top, left, dh, dw, groups]
        return self.constants.struct("window", f"layer{number}_window", values)

    def _epilogue(self, number: int, scale_and_bias: list[Weight | None], activation: int) -> str:
        vectors = [name for vector in scale_and_bias for name in self.constants.vector(number, vector)]
        return self.constants.struct("epilogue", f"layer{number}_epilogue", [*vectors, activation])

    def _use(self, *kernels: str) -> None:
        self.kernels.extend(f"{kernel}.c" for kernel in kernels)

    def _use_form(self, kernel: str, kind: str) -> str:
        full = f"{kernel}_{kind}" if kind else kernel
        self._use(full)
        return full


def floats_at(offset: int) -> str:
    """A place in the arena, from its bytes."""
    return f"arena + {offset // _FLOAT}" if offset else "arena"


def bytes_at(offset: int) -> str:
    return f"(uint8_t *)({floats_at(offset)})"


def _size(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def comment(text: str) -> str:
    """Text that may stand in a comment of C: nothing in it ends the comment or the line."""
    return re.sub(r"[^A-Za-z0-9_.@:-]", "_", text)[:80]
