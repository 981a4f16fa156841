"""Writes seed files for reader_fuzz: small networks that between them hold every op and every form of weights.

Usage: python engine/fuzz/make_corpus.py FOLDER
"""

import itertools
import struct
import sys
from pathlib import Path

import numpy as np

from camfit import _native

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from engine.writer import (
    CODEBOOK,
    NONE,
    RELU,
    RELU6,
    SPARSE,
    Net,
    Weight,
    bits_payload,
    dense,
    fast_payload,
    half,
    hashed,
    integers,
    level,
    sign,
)

VALUES = np.arange(4, dtype=np.float32)
CONV_SHAPES = [((5, 3, 3, 2), 1), ((4, 1, 1, 1), 3), ((3, 1, 3, 3), 3)]


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Weight]:
    """A random weight of this shape in every form."""
    values = rng.normal(size=shape).astype(np.float32)
    index = np.where(rng.random(shape) < 0.4, rng.integers(0, 3, shape), -1)
    positions = bits_payload(np.where(index < 0, -1, 0), np.ones(1))
    skewed = np.minimum(rng.geometric(0.7, shape) - 1, 3)
    words, _ = _native.encode_codebook(skewed.reshape(len(skewed), -1).astype(np.int32), VALUES, "fast")
    kept = values[index >= 0].astype("<f4").tobytes()
    return {
        "dense": dense(values),
        "codebook": Weight(CODEBOOK, shape, bits_payload(index, rng.normal(size=3))),
        "fast": Weight(CODEBOOK, shape, fast_payload(index, rng.normal(size=3))),
        "fast-full": Weight(CODEBOOK, shape, fast_payload(np.abs(index), rng.normal(size=3))),
        "fast-words": Weight(CODEBOOK, shape, words),
        "sparse": Weight(SPARSE, shape, struct.pack("<I", len(positions)) + positions + kept),
        "hashed": hashed(shape, 1, rng.normal(size=4)),
        "sign": sign(rng.random(shape[0]), values),
    }


def structured(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Bool of a convolution's weight: zeros that the engine leaves out as columns and as kernels."""
    return {
        "columns": np.broadcast_to(rng.random((1, *shape[1:])) < 0.2, shape),
        "kernels": np.broadcast_to(rng.random((*shape[:2], 1, 1)) < 0.3, shape),
    }


def networks() -> dict[str, Net]:
    rng = np.random.default_rng(0)
    out: dict[str, Net] = {}
    for shape, groups in CONV_SHAPES:
        cout, cin_group = shape[:2]
        if cout % groups:
            cout = shape[0] + groups - shape[0] % groups
        for form, weight in weights(rng, (cout, *shape[1:])).items():
            net = Net((5, 4, cin_group * groups), info=b'{"model": "seed"}')
            net.conv2d(weight, groups=groups, pad=(1, 0, 0, 1), activation=RELU, bias=half(rng.normal(size=cout)))
            out[f"conv-{form}-{groups}-{shape[2]}"] = net
    for name, kept in structured(rng, (18, 16, 3, 3)).items():
        index = np.where(kept, rng.integers(0, 3, kept.shape), -1)
        net = Net((7, 6, 16))
        net.conv2d(Weight(CODEBOOK, index.shape, bits_payload(index, rng.normal(size=3))), pad=(1, 1, 1, 1))
        out[f"conv-{name}"] = net
    for form, weight in weights(rng, (6, 9)).items():
        net = Net((1, 1, 9))
        net.linear(weight, scale=dense(np.ones(6)), bias=half(np.ones(6)))
        net.add_node("softmax")
        out[f"linear-{form}"] = net
    for scale_input, stride in itertools.product([False, True], [1, 2]):
        net = Net((5, 5, 3))
        net.conv2d(weights(rng, (4, 3, 3, 3))["sign"], pad=(1, 1, 1, 1), stride=(stride, 1), scale_input=scale_input)
        net.add_node("global_avg_pool")
        net.linear(weights(rng, (3, 4))["sign"], scale_input=scale_input)
        out[f"binary-{int(scale_input)}-{stride}"] = net
    for op, count in [("max_pool", None), ("avg_pool", True), ("avg_pool", False)]:
        net = Net((5, 6, 2), scale=[0.1, 0.2], shift=[1.0, -1.0])
        net.pool(op, (3, 2), stride=(2, 2), pad=(1, 1, 1, 0), count_include_pad=count)
        net.add_node("flatten")
        out[f"{op}-{count}"] = net
    net = Net((3, 3, 2))
    affine = net.add_node("affine", 0, [RELU6], [dense(np.ones(2)), half(np.zeros(2))])
    active = net.add_node("activation", 0, [RELU])
    both = net.add_node("add", [affine, active], [NONE])
    net.add_node("concat", [both, 0, both])
    net.add_node("flatten")
    out["elementwise"] = net
    net = Net((2, 3, 6))
    net.add_node("channel_shuffle", 0, [3])
    out["channel_shuffle"] = net
    net = Net((2, 3, 12))
    net.add_node("depth_to_space", 0, [3, 2, 1, 0, 2, 1])
    net.add_node("slice", None, [1, 1])
    out["depth_to_space"] = net
    for groups, channels in [(1, 3), (2, 4), (5, 5)]:
        net = Net((5, 4, channels))
        net.quantize(0.02, 128)
        values = rng.integers(-127, 128, (groups * 2 if groups < 5 else 5, channels // groups, 3, 2))
        scale, bias = dense(np.full(len(values), 0.01)), half(rng.normal(size=len(values)))
        net.int8_conv2d(
            integers(values), scale, level(0.05, 7), groups=groups, pad=(1, 1, 1, 0), bias=bias, activation=RELU6
        )
        net.pool("max_pool", (2, 2), stride=(2, 1))
        net.pool("avg_pool", (2, 1), pad=(1, 0, 0, 0), count_include_pad=groups == 1)
        net.add_node("activation", None, [RELU])
        last = net.add_node("int8_global_avg_pool", None, level(0.03, 0))
        net.add_node("int8_add", [last, last], [RELU, *level(0.06, 3)])
        net.add_node("concat", [last, last])
        net.add_node("channel_shuffle", None, [2])
        net.add_node("slice", None, [0, 2 * len(values)])
        net.add_node("depth_to_space", None, [1, 1, 0, 0, 0, 0])
        net.add_node("flatten")
        weight = integers(rng.integers(-3, 4, (4, 2 * len(values))))
        net.int8_linear(weight, dense(np.ones(4)), [0, 0] if groups == 1 else level(0.1, 9))
        if groups > 1:
            net.add_node("dequantize")
        out[f"int8-{groups}"] = net
    return out


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in networks().items():
        net.version = 2  # for coder 2
        (folder / f"{name}.camfit").write_bytes(net.encode())


if __name__ == "__main__":
    main()
