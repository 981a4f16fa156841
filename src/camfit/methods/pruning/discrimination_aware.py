"""Discrimination-aware channel pruning. Zhuang et al., NeurIPS 2018 (PR10)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from camfit.errors import RecipeError
from camfit.forms import attach, form_of, stored_of, weight_of
from camfit.graph import ChannelGroup, Graph
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable
from camfit.methods.pruning.extra_losses import fitted_losses
from camfit.methods.pruning.joint_loss import JointLoss
from camfit.methods.pruning.plan_channels import Scores, asked_curves, channel_plan, kept_counts
from camfit.methods.pruning.reader_weights import may_change
from camfit.network import Network
from camfit.plan import Plan, SetValues
from camfit.surgery import apply
from camfit.surgery.cut import blank


@dataclass(frozen=True)
class DiscriminationAware(ChannelBudget):
    """Selects channels by what they do for the next layer's outputs and for the classes, told apart half-way.

    Classifiers at evenly spaced depths (batch-norm, ReLU, average pooling, soft-max) turn the classes into a loss that
    is near every layer. The readers of a group start without any of its channels; the channel joins for which the joint
    loss (reconstruction + ``balance`` · the next classifier's, or the network's own) has the largest gradient
    ‖∂L/∂W_k‖_F; then the weights of the channels selected so far are updated, and so on until the group has as many as
    it keeps (the paper's algorithm 2). Groups go in execution order, each in the network cut so far. The classifiers
    are no part of the plan. Unlike in the paper, the network itself is not trained with them before: training is a
    recipe's step of its own.

    Attributes:
        losses: classifiers at intermediate layers, at most; a shallow network gets fewer.
        balance: λ, weight of the classifier's loss in nats. The reconstruction's squared error is half a share of the
            outputs' power.
        tolerance: ε, the stopping condition: a group is done before it has all that it may keep once a channel lowers
            the joint loss by at most this share of the loss without any channel; 0 for never.
        updates: gradient steps, with a line search, after each selection.
        images: calibration images to look at, at most.
    """

    NAME: ClassVar[str] = "discrimination-aware"

    losses: int = 3
    balance: float = 1.0
    tolerance: float = 0.0
    updates: int = 2
    images: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, count, least in (
            ("losses", self.losses, 0),
            ("updates", self.updates, 0),
            ("images", self.images, 1),
        ):
            if count < least:
                raise RecipeError(f"discrimination-aware: {name} is {count}, expected {least} or more")
        for name, value in (("balance", self.balance), ("tolerance", self.tolerance)):
            if not (value >= 0 and math.isfinite(value)):
                raise RecipeError(f"discrimination-aware: {name} is {value}, expected 0 or more")

    @torch.no_grad()
    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group, and the updated weights of the layers that read them.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        graph = Graph.of(network)
        groups = cuttable(self, network, graph)
        seen = calibration.first(self.images)
        work = _dense(network)
        whole = work.values(seen.inputs)
        extra = fitted_losses(work, seen, self.losses)
        fixed = {path for path, layer in network.weighted().items() if not may_change(layer)}

        def joint(group: ChannelGroup) -> JointLoss:
            return JointLoss(work, whole, group, extra, seen, self.balance, fixed)

        scores: Scores = {group.name: joint(group).without_channels() for group in groups}
        curves = asked_curves(self, network, groups, scores, calibration)
        counts = kept_counts(self, network, graph, groups, calibration, scores, curves=curves)
        keep: dict[str, tuple[int, ...]] = {}
        changed: dict[str, None] = {}
        for group in groups:
            if counts[group.name] == len(group):
                keep[group.name] = tuple(range(len(group)))
                continue
            keep[group.name], weights = selected(
                joint(group), counts[group.name], self.updates, self.tolerance, self.round_to
            )
            for path, weight in weights.items():
                attach(work.layer(path), None, weight)
                if path not in fixed:
                    changed[path] = None
            blank(work, [(group, tuple(sorted(set(range(len(group))) - set(keep[group.name]))))])
        why = f"gradients of the joint loss, {len(extra)} extra losses"
        plan = channel_plan(self.NAME, groups, keep, scores, why, curves)
        edits = _new_weights(network, plan, {path: weight_of(work.layer(path)) for path in changed})
        return replace(plan, edits=plan.edits + edits)


def selected(
    loss: JointLoss, count: int, updates: int, tolerance: float = 0.0, multiple: int = 1
) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    """Greedy selection (the paper's algorithm 2).

    Args:
        count: channels to select at most, at least one.
        updates: gradient steps after each selection.
        tolerance: ε of the stopping condition; 0 for none.
        multiple: the condition stops at multiples of it.

    Returns:
        (the channels, ascending; the readers' weights by path, zero where they read others).
    """
    chosen = torch.zeros(loss.channels, dtype=torch.bool)
    weights = loss.weights_of(chosen)
    present, slopes = loss.with_slopes(weights)
    first = before = present
    step = 1.0
    while True:
        joins = int(torch.where(chosen, -torch.inf, loss.norms(slopes)).argmax())
        weights = loss.joined(weights, joins)
        chosen[joins] = True
        present, slopes = loss.with_slopes(weights)
        for _ in range(updates):
            weights, present, slopes, step = _descended(loss, chosen, weights, present, slopes, step)
        number = int(chosen.sum())
        settled = tolerance > 0 and number % multiple == 0 and abs(before - present) <= tolerance * abs(first)
        if number == count or settled:
            return tuple(chosen.nonzero().flatten().tolist()), weights
        before = present


def _descended(
    loss: JointLoss, chosen: Tensor, weights: dict[str, Tensor], present: float, slopes: dict[str, Tensor], step: float
) -> tuple[dict[str, Tensor], float, dict[str, Tensor], float]:
    """One gradient step on the selected channels' weights, halved until the loss falls enough (Armijo)."""
    direction = loss.of_chosen(slopes, chosen)
    power = sum(float(part.double().square().sum()) for part in direction.values())
    if not power > 0 or not math.isfinite(power):
        return weights, present, slopes, step
    for _ in range(20):
        tried = {path: weight - step * direction[path] for path, weight in weights.items()}
        reached, slopes_there = loss.with_slopes(tried)
        if reached <= present - 0.1 * step * power:
            return tried, reached, slopes_there, 2 * step
        step /= 2
    return weights, present, slopes, step


def _dense(network: Network) -> Network:
    """A copy in evaluation mode whose weights are plain tensors, whatever their forms, and ask for no gradient."""
    copy = network.clone().eval()
    for layer in copy.weighted().values():
        attach(layer, None, weight_of(layer).detach())
    return copy.requires_grad_(False)


def _new_weights(network: Network, cut: Plan, weights: Mapping[str, Tensor]) -> tuple[SetValues, ...]:
    """Edits that give the network, after the cut, these weights of the whole network's shapes."""
    rewritten = network.clone()
    for path, weight in weights.items():
        layer = rewritten.layer(path)
        attach(layer, form_of(layer), weight)
    narrow = apply(rewritten, cut)
    return tuple(SetValues(f"{path}.weight", stored_of(narrow.layer(path)).detach().clone()) for path in weights)


ENTRY = Entry(
    row="PR10",
    name="discrimination-aware",
    family="pruning",
    paper="Zhuang, Tan, Zhuang, Liu, Guo, Wu, Huang, Zhu: Discrimination-aware Channel Pruning for Deep Neural "
    "Networks. NeurIPS 2018.",
    options=DiscriminationAware,
)
