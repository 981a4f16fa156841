"""How much each layer can lose: validation accuracy against the fraction of one layer's weights that is kept."""

from __future__ import annotations

from itertools import groupby, pairwise

import torch

from camfit.errors import BudgetError
from camfit.evaluate import Samples, evaluate
from camfit.forms import attach, stored_of, weight_of
from camfit.network import Network
from camfit.tasks import Task

FRACTIONS = (0.6, 0.4, 0.25, 0.16, 0.1, 0.06, 0.035, 0.02, 0.01)

# One scan may spend about this many multiply-accumulates; larger networks look at fewer images.
_MACS = 6e11
_FEWEST, _MOST = 200, 2000

# Points of an interpolated curve for each one measured.
_BETWEEN = 16

Curves = dict[str, list[tuple[float, float]]]


def sensitivity(network: Network, samples: Samples, task: Task, macs: int, seed: int = 0) -> Curves:
    """Prunes one layer at a time by magnitude, without retraining, as Han et al. 2015 (section 3.3) choose thresholds.

    Args:
        samples: validation data.
        macs: of one image, to bound the work.

    Returns:
        For each weighted layer (fraction kept, metric), from everything kept downwards.
    """
    layers = network.weighted()
    count = int(_MACS / max(1, macs * len(layers) * len(FRACTIONS)))
    count = min(len(samples), _MOST, max(_FEWEST, count))
    chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:count]
    probe = Samples(samples.inputs[chosen], samples.targets[chosen])
    whole = evaluate(network, probe, task)
    curves: Curves = {}
    for path in layers:
        trial = network.clone()
        layer = trial.layer(path)
        attach(layer, None, weight_of(layer))  # dense, whatever form it has, so that any weight can go
        weight = stored_of(layer)
        order = weight.detach().abs().flatten().argsort(descending=True, stable=True)
        curves[path] = [(1.0, whole)]
        for fraction in FRACTIONS:
            with torch.no_grad():
                weight.view(-1)[order[max(1, round(fraction * weight.numel())) :]] = 0
            curves[path].append((fraction, evaluate(trial, probe, task)))
    return curves


def keep_fractions(curves: Curves, sizes: dict[str, int], density: float) -> dict[str, float]:
    """Shares an overall density over layers so that the losses that the layers have on their own add up to the least.

    Each curve is made monotone (keeping less never counts as better), interpolated on the fraction's logarithm, and
    replaced by its lower convex hull. Then weights are handed out where one more saves the most loss, which is optimal
    on convex curves. A small layer is left whole where its few weights matter: pruning it would save next to nothing.

    Args:
        curves: of :func:`sensitivity`.
        sizes: weights of each layer.
        density: fraction of all weights to keep, in (0, 1].

    Returns:
        Fraction to keep of each layer. Layers are never emptied: at least 16 weights, or all if they have fewer.
    """
    if not 0 < density <= 1:
        raise BudgetError(f"density {density}: expected above 0 and at most 1")
    chosen = {path: curves[path][-1][0] for path in sizes}
    left = density * sum(sizes.values()) - sum(chosen[path] * size for path, size in sizes.items())
    if left < 0:
        # The curves end at their smallest fraction; what is still too much is taken from all alike.
        factor = 1 + left / sum(chosen[path] * size for path, size in sizes.items())
        return {path: min(1.0, max(share * factor, 16 / sizes[path])) for path, share in chosen.items()}
    steps = [(gain / sizes[path], path, span) for path in sizes for gain, span in _hull(curves[path])]
    for _, equal in groupby(sorted(steps, key=lambda step: -step[0]), key=lambda step: step[0]):
        # Steps of one gain share alike.
        spans: dict[str, float] = {}
        for _, path, span in equal:
            spans[path] = spans.get(path, 0.0) + span
        wanted = sum(span * sizes[path] for path, span in spans.items())
        part = min(1.0, left / wanted)
        for path, span in spans.items():
            chosen[path] += part * span
        left -= part * wanted
        if left <= 0:
            break
    return {path: min(1.0, max(share, 16 / sizes[path])) for path, share in chosen.items()}


def _hull(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower convex hull of a curve's loss, from its smallest fraction to 1: (loss saved per fraction, fraction)."""
    whole = curve[0][1]
    points: list[tuple[float, float]] = []
    worst, before = 0.0, curve[0][0]
    for fraction, metric in curve:
        earlier, worst = worst, max(worst, whole - metric)
        for step in range(1, _BETWEEN + 1):
            part = step / _BETWEEN
            points.append((before * (fraction / before) ** part, earlier + part * (worst - earlier)))
        before = fraction
    hull: list[tuple[float, float]] = []
    for x, y in reversed(points):
        if hull and x <= hull[-1][0]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    return [(-_slope(a, b), b[0] - a[0]) for a, b in pairwise(hull)]


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
