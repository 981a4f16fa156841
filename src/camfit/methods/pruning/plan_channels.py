"""From scores to a plan: what all structured methods share once a criterion has scored the channels of every group.

A limit may be a share of channels, multiply-accumulates, weights, bytes of the packed file or milliseconds measured on
the engine, and may be shared over the groups in five ways (the options in ``channel_budget.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from camfit.budget import Curve, equal_loss, global_rank, greedy, highest, least_loss, uniform
from camfit.cost import Cost, mac_cost, weight_cost
from camfit.errors import BudgetError, PlanError
from camfit.evaluate import predict
from camfit.graph import ChannelGroup, Graph
from camfit.measured_cost import latency_cost, size_cost
from camfit.method import Calibration
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable, fixed_counts, kept_of
from camfit.network import Network
from camfit.plan import KeepChannels, Plan
from camfit.surgery import apply

Scores = dict[str, Tensor]
"""By group, a finite score of each of its channels, float64; the lowest go first."""

# Shares of a group that its sensitivity curve is measured at.
_RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def plan_channels(
    options: ChannelBudget,
    network: Network,
    calibration: Calibration,
    criterion: Callable[[tuple[ChannelGroup, ...]], Scores],
    why: str,
    comparable: bool = False,
) -> Plan:
    """The channels to keep of each group: the highest-scored, as many as the options leave.

    Args:
        criterion: scores of the groups that may be cut.
        why: the criterion in a few words, for the plan's reason.
        comparable: scores of different groups mean the same; otherwise each group's are divided by their l2 norm
            before groups are compared (Molchanov et al., eq. 8).

    Raises:
        PlanError: no channels can be cut (says why), two ratios for one group, or scores that are not finite.
        BudgetError: the limit asks for more than all groups together have.
    """
    graph = Graph.of(network)
    groups = cuttable(options, network, graph)
    scores = criterion(groups)
    for name, values in scores.items():
        if not bool(values.isfinite().all()):
            raise PlanError(f"{options.NAME}: the scores of group {name!r} are not finite")
    curves = asked_curves(options, network, groups, scores, calibration)
    counts = kept_counts(options, network, graph, groups, calibration, scores, comparable, curves)
    keep = {name: highest(scores[name], counts[name]) for name in counts}
    return channel_plan(options.NAME, groups, keep, scores, why, curves)


def channel_plan(
    method: str,
    groups: Iterable[ChannelGroup],
    keep: Mapping[str, tuple[int, ...]],
    scores: Scores,
    why: str,
    curves: Mapping[str, Curve] | None = None,
) -> Plan:
    """The plan that keeps these channels; groups that stay whole need no edit. ``curves`` are for the report."""
    edits: list[KeepChannels] = []
    notes: dict[str, dict[str, float | int | str]] = {}
    before = after = 0
    for group in groups:
        kept = keep[group.name]
        before, after = before + len(group), after + len(kept)
        if len(kept) == len(group):
            continue
        edits.append(KeepChannels(group.name, kept))
        values = scores[group.name]
        notes[group.name] = {
            "channels": len(group),
            "kept": len(kept),
            "share of the score kept": float(values[list(kept)].sum() / values.sum().clamp(min=1e-30)),
        }
    reason = f"keep {after:,} of {before:,} channels by {why}"
    return Plan(method, tuple(edits), reason, notes, {name: tuple(curve) for name, curve in (curves or {}).items()})


def kept_counts(
    options: ChannelBudget,
    network: Network,
    graph: Graph,
    groups: tuple[ChannelGroup, ...],
    calibration: Calibration,
    scores: Scores,
    comparable: bool = False,
    curves: Mapping[str, Curve] | None = None,
) -> dict[str, int]:
    """How many channels each group keeps; curves that the allocation asks for are measured if not given."""
    fixed = fixed_counts(options, graph, groups)
    others = {group.name: len(group) for group in groups if group.name not in fixed}
    cost, limit, field_name = limit_of(options, network, graph, others)
    if cost is None:
        return {**fixed, **{name: kept_of(options, size, options.ratio) for name, size in others.items()}}

    def whole(kept: Mapping[str, int]) -> float:
        assert cost is not None
        return cost({**fixed, **kept})

    multiple = options.round_to
    try:
        if options.allocation == "uniform":
            shared = uniform(others, whole, limit, multiple)
        elif options.allocation in ("sensitivity", "least-loss"):
            open_groups = tuple(group for group in groups if group.name in others)
            measured = curves or loss_curves(network, open_groups, scores, calibration)
            by_loss = equal_loss if options.allocation == "sensitivity" else least_loss
            shared = by_loss({name: measured[name] for name in others}, others, whole, limit, multiple)
        else:
            ranked = _comparable({name: scores[name] for name in others}, network, graph, options, comparable)
            share = global_rank if options.allocation == "global" else greedy
            shared = share(ranked, whole, limit, multiple)
    except BudgetError as error:
        value = getattr(options, field_name)
        raise BudgetError(f"{options.NAME}: {field_name} is {value}, more than these groups have: {error}") from error
    return {**fixed, **shared}


def asked_curves(
    options: ChannelBudget, network: Network, groups: Iterable[ChannelGroup], scores: Scores, calibration: Calibration
) -> dict[str, Curve]:
    """:func:`loss_curves` where the options need them or ask for them, otherwise none."""
    return loss_curves(network, groups, scores, calibration) if needs_curves(options) else {}


def needs_curves(options: ChannelBudget) -> bool:
    """True where the report or the allocation asks for each group's loss."""
    return options.curves or options.allocation in ("sensitivity", "least-loss")


def loss_curves(
    network: Network,
    groups: Iterable[ChannelGroup],
    scores: Scores,
    calibration: Calibration,
) -> dict[str, Curve]:
    """By group, (fraction removed, mean loss on the calibration images): each pruned alone, without retraining."""

    def loss(of: Network) -> float:
        return float(calibration.loss(predict(of, calibration.inputs), calibration.targets))

    return group_curves(network, groups, scores, loss, _RATIOS)


def group_curves(
    network: Network,
    groups: Iterable[ChannelGroup],
    scores: Scores,
    evaluate: Callable[[Network], float],
    ratios: Iterable[float],
) -> dict[str, Curve]:
    """Each group pruned alone, by each ratio: (fraction really removed, what ``evaluate`` says), from the whole on.

    The last point removes all channels but one.
    """
    whole = evaluate(network)
    curves: dict[str, Curve] = {}
    for group in groups:
        size = len(group)
        removed = sorted({*(math.floor(ratio * size + 1e-9) for ratio in ratios), size - 1} - {0})
        curves[group.name] = [(0.0, whole)]
        for count in removed:
            keep = highest(scores[group.name], size - count)
            pruned = apply(network, Plan("sensitivity", (KeepChannels(group.name, keep),)))
            curves[group.name].append((count / size, evaluate(pruned)))
    return curves


def limit_of(
    options: ChannelBudget, network: Network, graph: Graph, sizes: Mapping[str, int]
) -> tuple[Cost | None, float, str]:
    """(cost, the highest allowed, the option that says so); no cost where every group just loses ``ratio``."""

    def width(kept: Mapping[str, int]) -> float:
        return float(sum(kept.get(name, size) for name, size in sizes.items()))

    if options.macs is not None:
        cost, fraction, name = mac_cost(network, graph), options.macs, "macs"
    elif options.weights is not None:
        cost, fraction, name = weight_cost(network, graph), options.weights, "weights"
    elif options.size is not None:
        cost, fraction, name = size_cost(network, graph), options.size, "size"
    elif options.latency is not None:
        cost, fraction, name = latency_cost(network, graph), options.latency, "latency"
    elif options.channels is not None:
        return width, width({}) - options.channels, "channels"
    elif options.allocation != "uniform":
        return width, (1 - options.ratio) * width({}), "ratio"
    else:
        return None, 0.0, ""
    return cost, (1 - fraction) * cost({}), name


def _comparable(scores: Scores, network: Network, graph: Graph, options: ChannelBudget, comparable: bool) -> Scores:
    """Scores that may be compared across groups, with FLOPs regularisation."""
    if not comparable:
        scores = {name: values / values.norm().clamp(min=1e-30) for name, values in scores.items()}
    if not options.macs_penalty:
        return scores
    cost = mac_cost(network, graph)
    sizes = {group.name: len(group) for group in graph.groups}
    saved = {name: cost({}) - cost({name: sizes[name] - 1}) for name in scores}
    dearest = max(saved.values())
    lowered = {name: values - options.macs_penalty * saved[name] / dearest for name, values in scores.items()}
    # Greedy divides a score by what it saves: none may be negative.
    floor = min(float(values.min()) for values in lowered.values())
    return {name: values - min(0.0, floor) for name, values in lowered.items()}
