"""Random graphs of simple ops against numpy: values that share memory or run in place never clobber each other."""

import numpy as np
import pytest

from engine.run import ISAS, outputs
from engine.writer import NONE, RELU, Net, dense

Value = np.ndarray


def max_pool(x: Value) -> Value:
    """2 x 2, stride 1, one row and column of padding at the end: the size stays."""
    padded = np.pad(x, ((0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    return np.maximum.reduce([padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]])


def flatten(x: Value) -> Value:
    return x.transpose(2, 0, 1).reshape(1, 1, -1)


def grow(rng: np.random.Generator, net: Net, values: list[Value]) -> Value:
    """Adds one random node and returns its value. Values stay small integers, so that float32 is exact."""
    # Mostly recent values, so that others die and free their memory.
    source = max(0, len(values) - 1 - int(rng.integers(0, 4)))
    x = values[source]
    op = rng.choice(["activation", "affine", "add", "add", "concat", "flatten", "max_pool"])
    if op == "activation":
        net.add_node("activation", source, [RELU])
        return np.maximum(x, 0)
    if op == "affine":
        scale, bias = (rng.integers(-1, 2, x.shape[2]).astype(np.float32) for _ in range(2))
        net.add_node("affine", source, [NONE], [dense(scale), dense(bias)])
        return x * scale + bias
    if op == "flatten":
        net.add_node("flatten", source)
        return flatten(x)
    if op == "max_pool":
        net.pool("max_pool", (2, 2), pad=(0, 0, 1, 1), inputs=source)
        return max_pool(x)
    if op == "concat":
        alike = [k for k, other in enumerate(values) if other.shape[:2] == x.shape[:2] and other.shape[2] < 60]
        chosen = [int(k) for k in rng.choice(alike or [source], 2)]
        net.add_node("concat", chosen)
        return np.concatenate([values[k] for k in chosen], axis=2)
    alike = [k for k, other in enumerate(values) if other.shape == x.shape]
    other = int(rng.choice(alike))
    net.add_node("add", [source, other], [RELU])
    return np.maximum(x + values[other], 0)


@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 1, 5), (4, 3, 1)])
@pytest.mark.parametrize("isa", ISAS)
def test_random_graphs(isa: str, shape: tuple[int, int, int]) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        net = Net(shape)
        values = [rng.integers(-5, 6, shape).astype(np.float32)]
        for _ in range(int(rng.integers(1, 14))):
            values.append(grow(rng, net, values))
            assert np.abs(values[-1]).max() < 2**20
        # A random third of the values is still wanted at the end, the others may be overwritten.
        kept = [k for k in range(len(values)) if rng.random() < 0.3]
        if kept:
            first_flat = len(net.nodes) + 1
            for k in kept:
                net.add_node("flatten", k)
            net.add_node("concat", list(range(first_flat, first_flat + len(kept))))
            values.append(np.concatenate([flatten(values[k]) for k in kept], axis=2))
        given = outputs(net, values[0], isa=isa).reshape(values[-1].shape)
        np.testing.assert_array_equal(given, values[-1], err_msg=f"seed {seed}")
