"""The least memory that any plan of the engine's steps could give a network's activations."""

from __future__ import annotations

from camfit.pack.lower import Op
from camfit.pack.read import Contents

# These may write over an input that nobody reads again.
_IN_PLACE = ("add", "int8_add", "activation", "affine")
_POOLS = ("max_pool", "avg_pool")


def live_bytes(contents: Contents) -> int:
    """Bytes of the values that are alive together, at the op where these are most.

    A value lives from the op that gives it to the last one that reads it; at an op both its inputs and its output
    live, but for ops that can compute in place. The network's input lives from the start, its output to the end.
    A convolution and a pool that the engine runs as one step are one op: what is between them never lives as a whole.
    """
    ops = contents.ops
    widths = [4]
    for op in ops:
        widths.append(_width(op, widths[op.inputs[0]]))
    sizes = [of * h * w * c for of, (h, w, c) in zip(widths, contents.shapes, strict=True)]
    last = list(range(len(sizes)))
    for time, op in enumerate(ops, 1):
        for value in op.inputs:
            last[value] = time
    stepped = {layer for layer, *_ in contents.engine.plan}
    for number, op in enumerate(ops):
        if op.op in _POOLS and number not in stepped:  # then the convolution still reads while the pool writes
            sizes[op.inputs[0]] = 0
            for value in ops[op.inputs[0] - 1].inputs:
                last[value] = max(last[value], number + 1)
    most = sizes[0]
    for time, op in enumerate(ops, 1):
        alive = sum(size for value, size in enumerate(sizes) if value < time <= last[value])
        dying = max((sizes[value] for value in op.inputs if last[value] == time), default=0)
        height, width, channels = contents.shapes[op.inputs[0]]
        same_order = op.op == "flatten" and (channels == 1 or height * width == 1)
        shared = min(dying, sizes[time]) if same_order or op.op in _IN_PLACE else 0
        most = max(most, alive + sizes[time] - shared)
    return most


def _width(op: Op, before: int) -> int:
    """Bytes of an element of the op's output, where its first input's have ``before``."""
    if op.op in ("quantize", "int8_add", "int8_global_avg_pool"):
        return 1
    if op.op in ("int8_conv2d", "int8_linear"):
        return 1 if op.attributes[-2] else 4  # without a scale the output is float
    return 4 if op.op == "dequantize" else before
