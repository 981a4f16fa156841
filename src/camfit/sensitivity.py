"""How much each layer can lose: validation accuracy against the fraction of one layer's weights that is kept."""

from __future__ import annotations

import math

import torch

from camfit.errors import BudgetError
from camfit.forms import attach, stored_of, weight_of
from camfit.network import Network
from camfit.tasks import Task
from camfit.train import Samples, evaluate

FRACTIONS = (0.6, 0.4, 0.25, 0.16, 0.1, 0.06, 0.035, 0.02, 0.01)

# One scan may spend about this many multiply-accumulates; larger networks look at fewer images.
_MACS = 6e11
_FEWEST, _MOST = 200, 2000

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
    """Shares an overall density over layers so that each loses about the same accuracy on its own.

    Finds the tolerance ε for which the layers' smallest fractions with a loss of at most ε add up to the density.

    Args:
        curves: of :func:`sensitivity`.
        sizes: weights of each layer.
        density: fraction of all weights to keep, in (0, 1].

    Returns:
        Fraction to keep of each layer. Layers are never emptied: at least 16 weights, or all if they have fewer.
    """
    if not 0 < density <= 1:
        raise BudgetError(f"density {density}: expected above 0 and at most 1")
    total = sum(sizes.values())

    def shares(tolerance: float) -> dict[str, float]:
        return {path: _smallest(curves[path], tolerance) for path in sizes}

    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        kept = sum(share * sizes[path] for path, share in shares(middle).items())
        low, high = (middle, high) if kept > density * total else (low, middle)
    # Where curves are flat, the shares jump at one tolerance: the density lies between the two sides of the jump.
    more, fewer = shares(low), shares(high)
    most, least = (sum(share * sizes[path] for path, share in side.items()) for side in (more, fewer))
    part = min(1.0, max(0.0, (density * total - least) / (most - least))) if most > least else 0.0
    chosen = {path: share + part * (more[path] - share) for path, share in fewer.items()}
    # The curves end at their smallest fraction; what is still too much is taken from all alike.
    kept = sum(share * sizes[path] for path, share in chosen.items())
    factor = min(1.0, density * total / kept)
    return {path: min(1.0, max(share * factor, min(1.0, 16 / sizes[path]))) for path, share in chosen.items()}


def _smallest(curve: list[tuple[float, float]], tolerance: float) -> float:
    """The smallest fraction whose loss stays within the tolerance, interpolated on the fraction's logarithm.

    The curve is made monotone first: keeping less never counts as better.
    """
    whole = curve[0][1]
    losses, worst = [], -math.inf
    for _, metric in curve:
        worst = max(worst, whole - metric)
        losses.append(worst)
    for number in range(1, len(curve)):
        if losses[number] > tolerance:
            (before, _), (after, _) = curve[number - 1], curve[number]
            span = losses[number] - losses[number - 1]
            part = 0.0 if span <= 0 else min(1.0, max(0.0, (tolerance - losses[number - 1]) / span))
            return math.exp(math.log(before) + part * (math.log(after) - math.log(before)))
    return curve[-1][0]
