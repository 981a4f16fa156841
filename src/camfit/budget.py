"""Budgets: what a network may cost at most, and how one cost is shared over its channel groups or layers."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from camfit.cost import Cost
from camfit.errors import BudgetError

_SIZES: Mapping[str, int] = MappingProxyType(
    {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
)
_TIMES: Mapping[str, float] = MappingProxyType({"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3})
Curve = list[tuple[float, float]]

_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµμ]*)")


@dataclass(frozen=True)
class Budget:
    """Limits of the packed file; at least one is given.

    Attributes:
        max_size: bytes on disk.
        max_latency: milliseconds an image, median.
        max_drop: loss of the task's metric in points (of 100) against the network given.

    Raises:
        BudgetError: no limit, or one that is not a number, not finite or out of range.
    """

    max_size: int | None = None
    max_latency: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_size is None and self.max_latency is None and self.max_drop is None:
            raise BudgetError("budget: no limit given; expected at least one of max_size, max_latency, max_drop")
        for name, value, least in (("max_size", self.max_size, 1), ("max_drop", self.max_drop, 0)):
            if value is not None and not (math.isfinite(value) and value >= least):
                raise BudgetError(f"{name}: found {value}, expected a number of at least {least}")
        if self.max_latency is not None and not (math.isfinite(self.max_latency) and self.max_latency > 0):
            raise BudgetError(f"max_latency: found {self.max_latency}, expected milliseconds above 0")

    @staticmethod
    def parse(max_size: str | None = None, max_latency: str | None = None, max_drop: str | None = None) -> Budget:
        """A budget from text such as ``40kB`` (40,000 bytes) or ``40KiB``, ``2ms`` or ``500us``, and ``0.3``.

        Raises:
            BudgetError: names the field, what was found and what is expected.
        """
        return Budget(
            None if max_size is None else parse_size(max_size),
            None if max_latency is None else parse_latency(max_latency),
            None if max_drop is None else parse_drop(max_drop),
        )

    def __str__(self) -> str:
        parts = [
            None if self.max_size is None else f"at most {self.max_size:,} bytes",
            None if self.max_latency is None else f"at most {self.max_latency:g} ms",
            None if self.max_drop is None else f"at most {self.max_drop:g} points lost",
        ]
        return ", ".join(part for part in parts if part is not None)


def parse_size(text: str) -> int:
    """Bytes in ``40kB`` (1000), ``40KiB`` (1024), ``1.5MB`` or ``40000``; fractions of a byte are dropped."""
    number, unit = _split(text)
    if number is None or unit not in _SIZES:
        raise BudgetError(f"max_size: found {text!r}, expected bytes such as 40000, 40kB (1000), 40KiB (1024) or 1.5MB")
    return int(number * _SIZES[unit])


def parse_latency(text: str) -> float:
    """Milliseconds in ``2ms``, ``500us`` or ``0.1s``; the unit is required."""
    number, unit = _split(text)
    if number is None or unit not in _TIMES:
        raise BudgetError(f"max_latency: found {text!r}, expected a time with its unit, such as 2ms, 500us or 0.1s")
    return number * _TIMES[unit]


def parse_drop(text: str) -> float:
    """Points of the metric in ``0.3``."""
    number, unit = _split(text)
    if number is None or unit:
        raise BudgetError(f"max_drop: found {text!r}, expected points of the metric such as 0.3")
    return number


def _split(text: str) -> tuple[float | None, str]:
    match = _NUMBER.fullmatch(text.strip())
    return (None, "") if match is None else (float(match[1]), match[2])


# -- sharing one budget ----------------------------------------------------------------------------------------


def uniform(sizes: Mapping[str, int], cost: Cost, limit: float, multiple: int = 1) -> dict[str, int]:
    """Keeps the same fraction of every unit, as large as the limit allows.

    Args:
        sizes: elements of each unit.
        cost: see :data:`camfit.cost.Cost`.
        limit: the highest cost allowed.
        multiple: kept numbers are rounded up to a multiple of it (at most the unit's size).

    Returns:
        how many elements each unit keeps, at least one.

    Raises:
        BudgetError: even one ``multiple`` per unit costs more.
    """

    def share(fraction: float) -> dict[str, int]:
        return {name: rounded(max(1, math.floor(fraction * n + 1e-9)), n, multiple) for name, n in sizes.items()}

    _reachable(cost, share(0.0), limit)
    # The outcome changes only where fraction·n is whole for some unit.
    steps = sorted({0.0, *(k / n for n in sizes.values() for k in range(n + 1))})
    return share(steps[_last_within(len(steps), lambda step: cost(share(steps[step])) <= limit)])


def global_rank(scores: Mapping[str, Tensor], cost: Cost, limit: float, multiple: int = 1) -> dict[str, int]:
    """Drops the lowest scores of all units together until the limit is met; scores must be comparable across units.

    Args:
        scores: a score for each element of each unit; low ones go first, equal ones in the units' order.
        cost: see :data:`camfit.cost.Cost`.
        limit: the highest cost allowed.
        multiple: kept numbers are rounded up to a multiple of it (at most the unit's size).

    Returns:
        how many elements each unit keeps; its highest-scored one always stays.

    Raises:
        BudgetError: one element per unit costs more already.
    """
    names = list(scores)
    sizes = torch.tensor([len(scores[name]) for name in names])
    least = {name: rounded(1, len(scores[name]), multiple) for name in names}
    _reachable(cost, least, limit)
    # Each unit's elements but its best, from low to high.
    candidates = [scores[name].detach().double().sort(stable=True).values[:-1] for name in names]
    owners = torch.cat([torch.full((len(values),), place) for place, values in enumerate(candidates)])
    owners = owners[torch.cat(candidates).sort(stable=True).indices]

    def after(dropped: int) -> dict[str, int]:
        kept = sizes - torch.bincount(owners[:dropped], minlength=len(names))
        counts = zip(names, kept.tolist(), sizes.tolist(), strict=True)
        return {name: rounded(count, size, multiple) for name, count, size in counts}

    return after(bisect.bisect_left(range(len(owners)), True, key=lambda dropped: cost(after(dropped)) <= limit))


def greedy(scores: Mapping[str, Tensor], cost: Cost, limit: float, multiple: int = 1) -> dict[str, int]:
    """Drops one element at a time, always the one with the least score per cost that goes with it.

    With a ``multiple``, as many go at a time as lie between two multiples. Costs are taken anew at every step, so this
    is for channels, not for millions of weights. Arguments, result and errors are those of :func:`global_rank`; scores
    are 0 or more.
    """
    kept = {name: len(values) for name, values in scores.items()}
    ordered = {name: values.detach().double().sort().values.tolist() for name, values in scores.items()}
    least = {name: rounded(1, size, multiple) for name, size in kept.items()}
    _reachable(cost, least, limit)
    present = cost(kept)

    def below(name: str) -> int:
        return (kept[name] - 1) // multiple * multiple if multiple > 1 else kept[name] - 1

    def price(name: str) -> float:
        saved = present - cost({**kept, name: below(name)})
        size = len(ordered[name])
        score: float = sum(ordered[name][size - kept[name] : size - below(name)])
        return score / saved if saved > 0 else math.inf

    while present > limit:
        cheapest = min((name for name in kept if kept[name] > least[name]), key=price)
        kept[cheapest] = below(cheapest)
        present = cost(kept)
    return kept


def equal_loss(
    curves: Mapping[str, Curve], sizes: Mapping[str, int], cost: Cost, limit: float, multiple: int = 1
) -> dict[str, int]:
    """Drops from every unit as much as costs the same loss, the least loss that meets the limit.

    Where that loss is met by more than the limit asks for, as much as it allows stays.

    Args:
        curves: by unit, (fraction dropped, loss) from (0, loss of the whole) upwards; the last fraction is the most
            that may go. Taken as linear between its points, and as never falling.
        sizes: elements of each unit.
        cost: see :data:`camfit.cost.Cost`.
        limit: the highest cost allowed.
        multiple: kept numbers are rounded up to a multiple of it (at most the unit's size).

    Returns:
        how many elements each unit keeps.

    Raises:
        BudgetError: even the ends of all curves cost more.
    """
    # Loss of dropping 0, 1, 2, ... elements of each unit.
    losses = {name: _losses(curves[name], sizes[name]) for name in sizes}

    def within(allowed: float) -> dict[str, int]:
        kept = {name: sizes[name] + 1 - bisect.bisect_right(losses[name], allowed) for name in sizes}
        return {name: rounded(max(1, count), sizes[name], multiple) for name, count in kept.items()}

    _reachable(cost, within(math.inf), limit)
    steps = sorted({loss for of_unit in losses.values() for loss in of_unit})
    low = bisect.bisect_left(range(len(steps) - 1), True, key=lambda step: cost(within(steps[step])) <= limit)
    # A flat stretch of a curve gives up many elements at once: those that the limit does not ask for stay.
    most = within(steps[low - 1]) if low else dict(sizes)
    return _between(within(steps[low]), most, sizes, cost, limit, multiple)


def least_loss(
    curves: Mapping[str, Curve], sizes: Mapping[str, int], cost: Cost, limit: float, multiple: int = 1
) -> dict[str, int]:
    """Drops from every unit so much that the losses of all curves come to the least sum that meets the limit.

    Losses of units add up, and a unit's elements save what its last one saves of the whole: then elements go in order
    of loss added for cost saved along each curve's lower convex hull, which is the optimum but for less than a hull's
    segment. Arguments, result and errors are those of :func:`equal_loss`; what a curve leaves out goes last.
    """
    present = cost(sizes)
    prices: dict[str, Tensor] = {}
    for name, size in sizes.items():
        saved = max(present - cost({**sizes, name: size - 1}), 1e-30)
        added = np.diff(_below(_losses(curves[name], size)))
        beyond = np.full(size - len(added), np.finfo(np.float64).max)
        prices[name] = torch.from_numpy(np.concatenate([added / saved, beyond]))
    return global_rank(prices, cost, limit, multiple)


def _below(losses: list[float]) -> np.ndarray:
    """The lower convex hull of losses that do not fall, at each of their places."""
    hull: list[int] = []
    for place, loss in enumerate(losses):
        while len(hull) > 1 and (loss - losses[hull[-1]]) * (hull[-1] - hull[-2]) <= (
            losses[hull[-1]] - losses[hull[-2]]
        ) * (place - hull[-1]):
            hull.pop()
        hull.append(place)
    return np.interp(range(len(losses)), hull, [losses[place] for place in hull])


def _between(
    least: dict[str, int],
    most: dict[str, int],
    sizes: Mapping[str, int],
    cost: Cost,
    limit: float,
    multiple: int,
) -> dict[str, int]:
    """From ``least`` the same part of the way to ``most`` for every unit, as far as the limit allows."""

    def part(share: float) -> dict[str, int]:
        counts = {name: least[name] + math.floor(share * (most[name] - least[name]) + 1e-9) for name in least}
        return {name: rounded(count, sizes[name], multiple) for name, count in counts.items()}

    shares = sorted({step / span for name in least if (span := most[name] - least[name]) for step in range(span + 1)})
    if not shares:
        return least
    return part(shares[_last_within(len(shares), lambda step: cost(part(shares[step])) <= limit)])


def _last_within(steps: int, within: Callable[[int], bool]) -> int:
    """The last of so many steps that is within the limit, as all before it are; the first where none is."""
    return max(0, bisect.bisect_left(range(steps), True, key=lambda step: not within(step)) - 1)


def _losses(curve: Curve, size: int) -> list[float]:
    """Loss added by dropping 0, 1, 2, ... of ``size`` elements, as far as the curve goes; it never falls."""
    whole = curve[0][1]
    fractions = [fraction for fraction, _ in curve]
    added = list(itertools.accumulate((max(0.0, loss - whole) for _, loss in curve), max))
    counts = range(math.floor(fractions[-1] * size + 1e-9) + 1)
    return [float(value) for value in np.interp([count / size for count in counts], fractions, added)]


def rounded(kept: int, size: int, multiple: int) -> int:
    """``kept`` rounded up to a multiple, at most ``size``."""
    return min(size, -(-kept // multiple) * multiple)


def highest(scores: Tensor, count: int) -> tuple[int, ...]:
    """Places of the ``count`` highest scores in ascending order; of equal ones the first stay."""
    places = scores.detach().sort(descending=True, stable=True).indices[:count]
    return tuple(sorted(places.tolist()))


def _reachable(cost: Cost, least: Mapping[str, int], limit: float) -> None:
    lowest = cost(least)
    if not lowest <= limit:
        raise BudgetError(
            f"cost limit: found {limit:,.0f}, expected at least {lowest:,.0f}, the cost of the smallest network"
        )
