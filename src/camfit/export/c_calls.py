"""The walk of a C export: every op becomes constants and calls of kernels."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from camfit.errors import ExportError
from camfit.export import c_fused as fused
from camfit.export import c_integer_calls as integer_calls
from camfit.export import c_integers as integers
from camfit.export.c_constants import Constants, alphas, float_text
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
        calls: the lines of a run, from the normalised input to the output; of an integer network from the quantized
            input to its last sums or bytes.
        arena_bytes, input_at, output_at: the engine's plan, in bytes.
        sums: an array of so many int32_t that the calls need beside the arena.
        rows: an array of so many bytes for rows of convolutions that are pooled as they are computed.
        pool_of: by the place of such a convolution, that of its pool.
        levels: what the bytes of every value mean; None: it is of floats.
        whole: the ends of a network that is integer throughout.
        table_channels: of the table that its input goes through.
    """

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.constants = Constants()
        self.kernels: list[str] = []
        self.calls: list[str] = []
        self.sums = self.rows = self.table_channels = 0
        plan = contents.engine.plan
        self.steps = {layer: [step[1:] for step in plan if step[0] == layer] for layer in range(len(contents.ops))}
        self.pool_of = fused.pools(contents.ops, self.steps)
        self.input_at, self.output_at = contents.engine.ends
        self.levels = integers.levels_of(contents.ops)
        self.whole = integers.whole(contents.ops, self.levels, [not steps for steps in self.steps.values()])
        self.arena_bytes = contents.engine.memory["arena_bytes"]
        for number in range(len(contents.shapes)):
            if self._value_bytes(number) > _MOST_BYTES:
                where = contents.ops[number - 1].name if number else "input"
                raise ExportError(f"{contents.source}: layer {where!r}: a value of more than 2 GiB")
        self._input()
        self._walk()

    def _value_bytes(self, value: int) -> int:
        return int(np.prod(self.contents.shapes[value])) * (_FLOAT if self.levels[value] is None else 1)

    @property
    def static_bytes(self) -> int:
        """Of memory that is written to."""
        return self.arena_bytes + 4 * self.sums + self.rows

    @property
    def weight_bytes(self) -> int:
        """Of all constants."""
        return sum(self.constants.sizes.values())

    def bytes_of(self, layer: int | None) -> int:
        """Of the constants of a layer, by its place; None: of the input's normalisation."""
        return self.constants.sizes.get(_INPUT if layer is None else layer, 0)

    # -- the walk ----------------------------------------------------------------------------------------------

    def _input(self) -> None:
        """The normalisation; of an integer network the table that does it, and the arena without the input's floats."""
        contents = self.contents
        scale, shift = (np.array(values, np.float32) for values in (contents.scale, contents.shift))
        self.constants.array(_INPUT, "input_scale", scale)
        self.constants.array(_INPUT, "input_shift", shift)
        if self.whole:
            level = self.levels[self.whole.first + 1]
            assert level is not None
            table = integers.input_table(scale, shift, level)
            if table is None:
                self.whole = None
            else:
                self.constants.array(_INPUT, "input_table", table)
                self.table_channels = len(table)
        if not self.whole:
            self._use("normalise_u8", "normalise_f32")
            return
        last = self.whole.last + (self.contents.ops[self.whole.last].op != "dequantize")
        made = {number: self.pool_of.get(number, number) + 1 for number in range(last)}
        ends = [
            self.steps[number][-1][2] + self._value_bytes(value) for number, value in made.items() if self.steps[number]
        ]
        self.arena_bytes = max(ends)

    def _walk(self) -> None:
        contents = self.contents
        for number, op in enumerate(contents.ops):
            if self.whole and not self.whole.first < number <= self.whole.last:
                continue  # its two ends are in c_sources.py
            shapes = [contents.shapes[value] for value in op.inputs]
            self.calls.append(f"  /* {number} {comment(op.name)}: {op.op}, {_size(contents.shapes[number + 1])} */")
            for line in self._op(number, op, shapes, contents.shapes[number + 1]):
                self.calls.extend(textwrap.wrap(line, 116, initial_indent="  ", subsequent_indent="      "))

    def _op(self, number: int, op: Op, shapes: list[Shape], out: Shape) -> list[str]:
        steps = self.steps[number]
        if not steps:
            pooled = number in self.pool_of.values()
            return ["/* done above, row by row */" if pooled else "/* in the same order already */"]
        if op.op == "dequantize" and self.whole:
            return []
        pixels, channels = shapes[0][0] * shapes[0][1], shapes[0][2]
        if op.op in ("quantize", "dequantize") or self.levels[op.inputs[0]] is not None:
            return self._integer(number, op, shapes, out)
        source, other, to = (floats_at(offset) for offset in steps[-1])
        ends = f"{source}, {to}"
        if op.op in ("conv2d", "linear"):
            return [self._weighted(number, op, shapes[0], out, ends)]
        if op.op in ("binary_conv2d", "binary_linear"):
            return self._binary(number, op, shapes[0], out)
        if op.op == "concat":
            self._use("copy_channels")
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
        if op.op in ("depth_to_space", "slice"):
            return [f"{op.op}({integer_calls.moving(op, shapes[0], out)}, {ends});"]
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
        lines, first = [], 0
        for shape, (source, _, to) in zip(shapes, self.steps[number], strict=True):
            place = floats_at(to + _FLOAT * first)
            lines.append(f"copy_channels({out[0] * out[1]}, {shape[2]}, {out[2]}, {floats_at(source)}, {place});")
            first += shape[2]
        return lines

    # -- integers ----------------------------------------------------------------------------------------------

    def _integer(self, number: int, op: Op, shapes: list[Shape], out: Shape) -> list[str]:
        """A layer that reads or makes bytes."""
        source, level = self.levels[op.inputs[0]], self.levels[number + 1]
        pixels, channels = shapes[0][0] * shapes[0][1], shapes[0][2]
        if op.op == "concat":
            return self._concat_bytes(number, shapes, out)
        at = self.steps[number][-1]
        from_bytes, other, to_bytes = (self.bytes_at(offset) for offset in at)
        ends = f"{from_bytes}, {to_bytes}"
        if source is None:
            assert level is not None
            self._use("quantize")
            inverse = float_text(float(integers.inverse(level)))
            return [f"quantize({pixels * channels}, {inverse}, {level.zero}, {floats_at(at[0])}, {to_bytes});"]
        if op.op == "dequantize":
            self._use("dequantize")
            scale = float_text(source.scale)
            return [f"dequantize({pixels * channels}, {scale}, {source.zero}, {from_bytes}, {floats_at(at[2])});"]
        if number in self.pool_of:
            return self._pooled(number, op, shapes[0], out)
        if op.op in ("int8_conv2d", "int8_linear"):
            window = self._window(number, op, shapes[0], out) if op.op == "int8_conv2d" else ""
            lines = [self._int8_weighted(number, op, shapes[0], out, window, ends)]
            if level is None and not self.whole:
                self._use("sums_to_floats")
                lines.append(f"sums_to_floats({self.sums_arguments(number)}, {to_bytes}, {floats_at(at[2])});")
            return lines
        if op.op == "int8_add":
            one, second = source, self.levels[op.inputs[1]]
            assert second is not None and level is not None
            fields: list[object] = [*integers.addition(op, one, second, level)]
            added = self.constants.struct("int8_sum", f"layer{number}_sum", fields)
            kernel, call = "int8_add", f"int8_add({pixels * channels}, {added}, {from_bytes}, {other}, {to_bytes});"
        elif op.op == "int8_global_avg_pool":
            assert level is not None
            mean = integer_calls.mean_struct(self.constants, number, pixels, source, level)
            kernel, call = op.op, f"int8_global_avg_pool({pixels}, {channels}, {mean}, {ends});"
        else:
            window = self._window(number, op, shapes[0], out) if op.op in ("max_pool", "avg_pool") else ""
            kernel, call = integer_calls.moved(op, source, shapes[0], out, window, ends, self.contents.source)
        self._use(kernel)
        return [call]

    def _pooled(self, number: int, op: Op, into: Shape, out: Shape) -> list[str]:
        """A convolution and the pool behind it, one row of the pool at a time."""
        pool_number = self.pool_of[number]
        pool, level = self.contents.ops[pool_number], self.levels[number + 1]
        assert level is not None
        rows = fused.rows_held(pool, out)
        height, width, channels = self.contents.shapes[pool_number + 1]
        self._use("pool_band")
        self.rows = max(self.rows, rows * out[1] * out[2])
        windows = self._window(number, op, into, out), self._window(pool_number, pool, out, (height, width, channels))
        source, _, to = self.steps[number][-1]
        ends = f"{self.bytes_at(source)} + band.in, rows + band.out"
        convolution = self._int8_weighted(number, op, into, (rows, *out[1:]), "&band.conv", ends)
        ends = f"rows, {self.bytes_at(to)} + row * {width * channels}"
        kernel, call = integer_calls.moved(
            pool, level, out, (height, width, channels), "&band.pool", ends, self.contents.source
        )
        self._use(kernel)
        return fused.loop(height, windows, [convolution, call])

    def _int8_weighted(self, number: int, op: Op, into: Shape, out: Shape, window: str, ends: str) -> str:
        weight, source = op.weights[0], self.levels[op.inputs[0]]
        assert weight is not None and source is not None
        layer = integer_calls.weighted_struct(self.constants, number, op, source, self.levels[number + 1])
        if op.op == "int8_linear":
            matrix = self.constants.integers(number, weight)
            kernel = self._use_form("int8_linear", matrix.kind)
            sizes = f"{out[2]}" if matrix.kind else f"{into[2]}, {out[2]}"
            return f"{kernel}({sizes}, {matrix.argument}, {layer}, {ends});"
        groups = op.attributes[11]
        if 1 < groups == into[2] == out[2]:
            self._use("int8_depthwise")
            matrix = self.constants.depthwise_integers(number, weight)
            return f"int8_depthwise({window}, {matrix.argument}, {layer}, {ends});"
        matrix = self.constants.integers(number, weight, groups)
        kernel = self._use_form("int8_conv2d", matrix.kind)
        if matrix.kind:
            self.sums = max(self.sums, out[0] * out[1])
            return f"{kernel}({window}, {matrix.argument}, {layer}, sums, {ends});"
        return f"{kernel}({window}, {matrix.argument}, {layer}, {ends});"

    def _concat_bytes(self, number: int, shapes: list[Shape], out: Shape) -> list[str]:
        self._use("int8_copy_channels")
        lines, first = [], 0
        for shape, (source, _, to) in zip(shapes, self.steps[number], strict=True):
            place = f"{self.bytes_at(to)} + {first}" if first else self.bytes_at(to)
            sizes = f"{out[0] * out[1]}, {shape[2]}, {out[2]}"
            lines.append(f"int8_copy_channels({sizes}, {self.bytes_at(source)}, {place});")
            first += shape[2]
        return lines

    def sums_arguments(self, number: int) -> str:
        """What turns the sums of an integer layer into floats, as arguments."""
        op = self.contents.ops[number]
        source, scale = self.levels[op.inputs[0]], op.weights[1]
        assert source is not None and scale is not None
        height, width, channels = self.contents.shapes[number + 1]
        units = integers.units(scale, source).astype(np.float32)
        name = self.constants.array(number, f"layer{number}_scale", units)
        return f"{height * width}, {channels}, {name}, {integer_calls.activation_of(op)}"

    def bytes_at(self, offset: int) -> str:
        """A place of bytes in the arena, which is of bytes itself where the whole network is."""
        if self.whole:
            return f"arena + {offset}" if offset else "arena"
        return bytes_at(offset)

    # -- arguments ---------------------------------------------------------------------------------------------

    def _window(self, number: int, op: Op, into: Shape, out: Shape) -> str:
        if op.op in ("conv2d", "binary_conv2d", "int8_conv2d"):
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
