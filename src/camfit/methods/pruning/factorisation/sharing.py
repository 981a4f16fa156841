"""Shares a cost over layers of which each can be had at several ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from camfit.errors import BudgetError
from camfit.methods.pruning.factorisation.decomposition import Ranks


@dataclass(frozen=True)
class Rung:
    """One way to have a layer.

    Attributes:
        ranks: of its factors; None: the layer as it is.
        cost: in the budget's unit.
        energy: fraction of the weight's squared norm kept, in (0, 1].
    """

    ranks: Ranks | None
    cost: int
    energy: float

    @property
    def loss(self) -> float:
        """-log of the energy."""
        return -math.log(max(self.energy, 1e-12))


def share(ladders: Mapping[str, Sequence[Rung]], limit: float) -> dict[str, Rung]:
    """A rung for each layer so that the product of the kept energies is the largest that the limit allows.

    Zhang, Zou, He, Sun, Accelerating Very Deep Convolutional Networks for Classification and Detection, TPAMI 2016,
    section 2.4, choose ranks by this product. From the cheapest rungs, cost is spent where it saves the most loss,
    along each ladder's convex hull; what is left buys the best rung that still fits, layer by layer.

    Raises:
        BudgetError: the cheapest rungs cost more already.
    """
    chosen = {name: min(ladder, key=lambda rung: rung.cost) for name, ladder in ladders.items()}
    left = limit - sum(rung.cost for rung in chosen.values())
    if left < 0:
        raise BudgetError(
            f"cost limit: found {limit:,.0f}, expected at least {limit - left:,.0f}, the cost at the lowest ranks"
        )
    steps = [(gain, name, rung) for name, ladder in ladders.items() for gain, rung in _hull(ladder)]
    closed: set[str] = set()
    for _, name, rung in sorted(steps, key=lambda step: -step[0]):
        extra = rung.cost - chosen[name].cost
        if name in closed or extra > left:
            closed.add(name)
            continue
        chosen[name], left = rung, left - extra
    for name, ladder in ladders.items():
        present = chosen[name]
        best = min(
            (rung for rung in ladder if rung.cost <= present.cost + left), key=lambda rung: (rung.loss, rung.cost)
        )
        if best.loss < present.loss:
            chosen[name], left = best, left - (best.cost - present.cost)
    return chosen


def _hull(ladder: Sequence[Rung]) -> list[tuple[float, Rung]]:
    """(loss saved per cost, the rung it leads to) along the lower convex hull from the cheapest rung on."""
    hull: list[Rung] = []
    for rung in sorted(ladder, key=lambda rung: (rung.cost, rung.loss)):
        if hull and rung.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _gain(hull[-1], rung) >= _gain(hull[-2], hull[-1]):
            hull.pop()
        hull.append(rung)
    return [(_gain(a, b), b) for a, b in pairwise(hull)]


def _gain(a: Rung, b: Rung) -> float:
    return (a.loss - b.loss) / (b.cost - a.cost)
