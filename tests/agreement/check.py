"""Whether torch and the engine agree on a case.

- ``float``, ``binary``: 2e-5 of the largest output. Both sum in float32 (2⁻²⁴ = 6e-8 a rounding), in other orders; the
  networks are some twenty layers deep with sums of up to four thousand terms, and values stay of order one.
- ``integer``: the engine's bits are those of tests/integer_graph.py; behind float layers at the end it is 2e-5 too.
- ``fixed``: so too, and they are those of the torch network as well.

A binary layer takes signs: a value within 1e-5 of zero may fall to either side, and no tolerance covers that. Such a
case is *undecided*, if it differs: it is counted, never passed over in silence.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

import integer_graph
from agreement.cases import INTEGER_KINDS, VARIANTS, Case
from camfit.data import to_tensor
from camfit.engine import Engine
from camfit.forms import Integer, form_of
from camfit.layers import BinaryConv2d, BinaryLinear, Quantize, pair
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.lower import Op, lower
from engine.run import ISAS, MODES

TOLERANCE = 2e-5
NEAR_ZERO = 1e-5
# The order of a sum's terms is free there, so a value that is rounded afterwards may fall to another byte.
FLOAT_OPS = {"conv2d", "linear", "affine", "softmax", "add", "global_avg_pool"}
ROUNDING = {"quantize", "int8_add", "int8_conv2d", "int8_linear", "int8_global_avg_pool"}


@dataclass
class Outcome:
    """Attributes:
    problems: what does not agree; empty where all does.
    undecided: a sign on the edge explains the difference.
    worst: largest difference of a float comparison, relative to the largest output.
    compared: what was compared, by label.
    """

    problems: list[str] = field(default_factory=list)
    undecided: bool = False
    worst: float = 0.0
    compared: Counter[str] = field(default_factory=Counter)


@torch.no_grad()
def check(case: Case) -> Outcome:
    """Runs torch or the exact integers once, and the engine with every instruction set, mode and number of threads."""
    outcome = Outcome()
    network = case.network
    x = to_tensor(case.images, case.normalisation)
    x = x if len(network.input_shape) == 3 else x.flatten(1)
    data = pack(network, case.normalisation, coder=case.coder).data
    # A structure's seeds have their ops in common (but for integers, whose scales decide); counted once.
    ops = lower(network) if case.kind in INTEGER_KINDS or case.seed % VARIANTS == 0 else []
    floats = [number for number, op in enumerate(ops) if op.op in FLOAT_OPS]
    rounds_late = bool(floats) and any(op.op in ROUNDING for op in ops[floats[0] :])
    exact = case.kind in INTEGER_KINDS and not rounds_late
    rounds_late = case.kind in INTEGER_KINDS and rounds_late
    if rounds_late:
        outcome.compared["not compared: bytes behind float ops"] += 1
        return outcome
    _count(outcome, case, ops)
    whole = exact and not floats
    expected = {}
    if exact:
        expected["exact integers"] = _engine_layout(integer_graph.run(ops, x)[-1].data)
    if not exact or (case.kind == "fixed" and whole and means_are_exact(network)):
        expected["torch"] = _engine_layout(network(x).numpy())
        outcome.compared["fixed point against torch, to the bit"] += "torch" in expected and whole
    runs: dict[tuple[str, str], np.ndarray] = {}
    for isa, mode, threads in itertools.product(ISAS, MODES, (1, 2)):
        if threads == 2 and (case.seed % 8 or isa != ISAS[-1]):
            continue  # a pool of threads takes longer to start than the rest of the case
        found = Engine(data, isa=isa, mode=mode, threads=threads).run(case.images)  # type: ignore[arg-type]
        for against, values in expected.items():
            _compare(outcome, f"{isa}, {mode}, {threads} threads against {against}", found, values, whole)
        if threads == 2:
            _compare(outcome, f"{isa}, {mode}: two threads against one", found, runs[isa, mode], True)
        runs[isa, mode] = found
        outcome.compared[f"set: {isa}, {mode}, {threads} threads"] += 1
    if outcome.problems and case.kind == "binary" and _sign_on_edge(network, x):
        outcome.undecided, outcome.problems = True, []
    return outcome


def means_are_exact(network: Network) -> bool:
    """False where torch leaves a mean of other than 2^k pixels as it is.

    The engine takes an average pool of values of several sources in bytes where their scales happen to be equal;
    planners see that, drawn scales do not.
    """
    for node in network.nodes:
        layer = network.layer(node.layer)
        if isinstance(layer, nn.AvgPool2d):
            pixels, readers = math.prod(pair(layer.kernel_size)), network.consumers(node.name)
            rounded = bool(readers) and all(isinstance(network.layer(r.layer), Quantize) for r in readers)
            if not rounded and pixels & (pixels - 1):
                return False
    return True


def _engine_layout(outputs: np.ndarray) -> np.ndarray:
    return outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs


def _compare(outcome: Outcome, label: str, found: np.ndarray, expected: np.ndarray, to_the_bit: bool) -> None:
    found = found.reshape(expected.shape)
    difference = float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-2)
    if to_the_bit:
        agrees = np.array_equal(found, expected)
    else:
        agrees = difference <= TOLERANCE  # not-a-number is no agreement
        if agrees:
            outcome.worst = max(outcome.worst, difference)
    if not agrees:
        outcome.problems.append(f"{label}: {difference:.3g} of the largest output")


def _count(outcome: Outcome, case: Case, ops: list[Op]) -> None:
    outcome.compared[f"kind: {case.kind}"] += 1
    outcome.compared[f"coder: {case.coder}"] += 1
    if case.seed % VARIANTS:
        return
    outcome.compared["structures"] += 1
    outcome.compared.update({f"op, structures: {op.op}" for op in ops})
    for layer in case.network.weighted().values():
        form = form_of(layer)
        name = "dense" if form is None else form.name
        bits = f" of {form.bits} bits" if isinstance(form, Integer) else ""
        outcome.compared[f"form, layers of structures: {name}{bits}"] += 1


def _sign_on_edge(network: Network, x: torch.Tensor) -> bool:
    values = network.values(x)
    for node in network.nodes:
        if isinstance(network.layer(node.layer), BinaryConv2d | BinaryLinear):
            read = values[node.inputs[0]]
            limit = NEAR_ZERO * float(read.abs().max())
            # Behind a ReLU zero is zero for everybody, and its sign is +1.
            if float(read.min()) < 0 and bool((read.abs() <= limit).any()):
                return True
    return False
