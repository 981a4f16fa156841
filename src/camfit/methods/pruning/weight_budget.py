"""How much goes when single weights are pruned, and how layers share it: options of PR1 to PR3, and the masks.

The limits and allocations are those of channels (:mod:`camfit.methods.pruning.channel_budget`), by the same functions
of :mod:`camfit.budget`; a zero weight saves its products, bytes of the file and, where there are enough, time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from torch import Tensor

from camfit.budget import equal_loss, least_loss
from camfit.cost import macs
from camfit.errors import BudgetError, RecipeError
from camfit.evaluate import predict
from camfit.forms import Masked
from camfit.method import Calibration
from camfit.methods.pruning.limit import Limit, given_limit
from camfit.methods.pruning.share_weights import check_keep, share_weights
from camfit.network import Network
from camfit.plan import Constrain, Plan
from camfit.surgery import apply

Allocation = Literal["uniform", "global", "sensitivity", "least-loss"]
Masks = dict[str, Tensor]
Curves = dict[str, tuple[tuple[float, float], ...]]

# Shares of a layer's weights that its sensitivity curve is measured at.
_RATIOS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
# Parts in which a layer's weights are handed out where curves decide.
_PARTS = 1000
# A limit is met by the least of so many sparsities up to the highest.
_HIGHEST, _COUNTED, _MEASURED = 0.99, 4096, 64


@dataclass(frozen=True)
class WeightBudget:
    """Options of every method that makes single weights zero. At most one of ``macs`` to ``latency`` is given.

    Attributes:
        sparsity: fraction of the weights to be zero afterwards, in [0, 1), where no other limit is given; those pruned
            before count.
        macs: fraction of the network's multiply-accumulates that a zero weight spares, in (0, 1); those spared before
            count.
        size: fraction of the bytes of its packed file to remove, in (0, 1): the least sparsity that does it.
        latency: fraction of its milliseconds on the engine to remove (one thread, this machine), in (0, 1): the least
            sparsity that does it. A measurement: two plans may differ.
        allocation: ``uniform``: every layer has the same sparsity; ``global``: the lowest scores of all layers;
            ``sensitivity``: what costs each layer the same loss on the calibration images, pruned alone and without
            retraining; ``least-loss``: what costs the least sum of those losses.
        keep: fraction of a layer's weights (pruned ones included) to keep, by layer; such layers take no part in the
            sharing.
        skip: layers to leave alone.
    """

    NAME: ClassVar[str]

    sparsity: float | None = None
    macs: float | None = None
    size: float | None = None
    latency: float | None = None
    allocation: Allocation = "global"
    keep: dict[str, float] = field(default_factory=dict)
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_keep(self.NAME, self.keep)
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise RecipeError(f"{self.NAME}: sparsity is {self.sparsity}, expected in [0, 1)")
        self.limit()
        if self.allocation not in get_args(Allocation):
            expected = ", ".join(get_args(Allocation))
            raise RecipeError(f"{self.NAME}: allocation is {self.allocation!r}, expected one of {expected}")

    def limit(self) -> tuple[str, float] | None:
        """The one of ``macs``, ``size`` and ``latency`` that is given, and its fraction."""
        return given_limit(self.NAME, {"macs": self.macs, "size": self.size, "latency": self.latency})


def shared_masks(
    options: WeightBudget,
    network: Network,
    calibration: Calibration,
    scores: Mapping[str, Tensor],
    alive: Mapping[str, Tensor],
) -> tuple[Masks, Curves]:
    """Masks (True stays) of every layer that has scores, and the curves by layer where the allocation measures them.

    Args:
        scores: what each weight is worth, 0 or more; ``global`` compares them across layers.
        alive: False where a weight is pruned already.

    Raises:
        BudgetError: the limit asks for more than a sparsity of 99 % gives.
    """
    others = [path for path in scores if path not in options.keep]
    curves = _curves(network, calibration, scores, alive, others) if _by_loss(options) else {}
    products = macs(network)
    # What a weight costs: itself, or its products.
    price = {path: products[path] / scores[path].numel() if options.macs else 1.0 for path in others}

    def at(sparsity: float) -> Masks:
        if not curves:
            allocation: Literal["uniform", "global"] = "global" if options.allocation == "global" else "uniform"
            return share_weights(scores, alive, options.keep, sparsity, allocation)
        shares = _by_curves(options, curves, {path: price[path] * scores[path].numel() for path in others}, sparsity)
        return share_weights(scores, alive, {**shares, **options.keep}, 0.0, "uniform")

    if (given := options.limit()) is None:
        return at(options.sparsity or 0.0), curves
    limit = Limit.of(network, *given)
    steps = _COUNTED if limit.name == "macs" else _MEASURED
    found = [0.0]

    def meets(step: int) -> bool:
        found[0] = limit.cost(_masked(network, at(_HIGHEST * step / steps)))
        return found[0] <= limit.most

    step = bisect_left(range(steps + 1), True, key=meets)
    if step > steps:
        raise BudgetError(
            f"{options.NAME}: {limit.name} is {given[1]}, more than {_HIGHEST:.0%} of zeros spare: "
            f"found {found[0]:.6g} {limit.unit}, expected at most {limit.most:.6g}"
        )
    return at(_HIGHEST * step / steps), curves


def _by_loss(options: WeightBudget) -> bool:
    return options.allocation in ("sensitivity", "least-loss")


def _by_curves(options: WeightBudget, curves: Curves, whole: Mapping[str, float], sparsity: float) -> dict[str, float]:
    """The fraction of each layer that stays where the layers' cost ``whole`` is to fall by ``sparsity``."""
    sizes = dict.fromkeys(curves, _PARTS)

    def cost(kept: Mapping[str, int]) -> float:
        return sum(whole[path] * kept.get(path, _PARTS) / _PARTS for path in sizes)

    share = equal_loss if options.allocation == "sensitivity" else least_loss
    kept = share({path: list(points) for path, points in curves.items()}, sizes, cost, (1 - sparsity) * cost({}))
    return {path: count / _PARTS for path, count in kept.items()}


def _curves(
    network: Network,
    calibration: Calibration,
    scores: Mapping[str, Tensor],
    alive: Mapping[str, Tensor],
    paths: list[str],
) -> Curves:
    """By layer, (fraction zero, mean loss on the calibration images): each pruned alone, without retraining."""

    def loss(of: Network) -> float:
        return float(calibration.loss(predict(of, calibration.inputs), calibration.targets))

    whole = loss(network)

    def at(path: str, ratio: float) -> float:
        return loss(_masked(network, share_weights({path: scores[path]}, {path: alive[path]}, {}, ratio, "uniform")))

    return {path: ((0.0, whole), *((ratio, at(path, ratio)) for ratio in _RATIOS)) for path in paths}


def _masked(network: Network, masks: Masks) -> Network:
    return apply(network, Plan("budget", tuple(Constrain(path, Masked(mask)) for path, mask in masks.items())))
