"""An LSTM decides where to prune. Zhong, Ding, Guo, Han, Wang, Where to Prune, IJCAI 2018 (PR14)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from camfit.budget import Curve, highest
from camfit.cost import macs
from camfit.errors import BudgetError, RecipeError
from camfit.forms import weight_of
from camfit.graph import ChannelGroup, Graph
from camfit.layers import pair
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable, fixed_counts, kept_of
from camfit.methods.pruning.controller import Controller, Decision, Lessons, reinforce
from camfit.methods.pruning.plan_channels import Scores, asked_curves, channel_plan, limit_of
from camfit.methods.pruning.reader_weights import readers_of
from camfit.methods.pruning.trial import Trial
from camfit.network import Network
from camfit.plan import KeepChannels, Plan

# Decisions that are tried again, moved to the limit, before one is taken.
_FINALISTS = 4
# Steps of the search for the limit: fractions to a millionth.
_HALVINGS = 20


@dataclass(frozen=True)
class LstmGuide(ChannelBudget):
    """An LSTM reads the layers' descriptions, first to last, and decides which fraction of each layer's filters goes.

    It is trained by policy gradient (REINFORCE with a moving average as its baseline). The reward of a decision is the
    accuracy of the network so cut on held-out calibration images, after a short recovery by distillation from the whole
    network, less a penalty for what it costs beyond the limit. The best decisions and the trained controller's own are
    then moved, by one amount for all layers, to where they just meet the limit, and the most accurate is taken.

    Which filters of a layer go is channel-based: those whose channels the next layers' kernels read least, by Σ|w|.

    Unlike in the paper, one decision is the whole cut, instead of a step of many with training in between. The plan
    holds the cut alone: what recovery taught serves the reward.

    Attributes:
        allocation: not for this method, which is an allocation of its own.
        macs_penalty: not for this method.
        fractions: of a layer's filters, that the guide chooses from.
        rounds: gradient steps of the controller.
        episodes: decisions drawn for each.
        penalty: what costing twice the limit lowers the reward by; accuracy is in [0, 1].
        updates: of the recovery, 64 images each (Adam).
        learning_rate: of the controller (Adam).
        memory: of the baseline: the share of it that a round leaves, in [0, 1).
        images: calibration images, at most: half to recover on, half held out.
    """

    NAME: ClassVar[str] = "lstm-guide"

    fractions: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    rounds: int = 40
    episodes: int = 8
    penalty: float = 1.0
    updates: int = 4
    learning_rate: float = 0.02
    memory: float = 0.8
    images: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allocation != "uniform" or self.macs_penalty:
            raise RecipeError("lstm-guide: allocation or macs_penalty is given, expected neither: the guide allocates")
        if len(set(self.fractions)) < 2 or not all(0 <= fraction < 1 for fraction in self.fractions):
            raise RecipeError(f"lstm-guide: fractions is {self.fractions}, expected two or more in [0, 1)")
        for name, count, least in (
            ("rounds", self.rounds, 1),
            ("episodes", self.episodes, 1),
            ("updates", self.updates, 0),
            ("images", self.images, 2),
        ):
            if count < least:
                raise RecipeError(f"lstm-guide: {name} is {count}, expected {least} or more")
        if not (self.penalty >= 0 and math.isfinite(self.penalty)):
            raise RecipeError(f"lstm-guide: penalty is {self.penalty}, expected 0 or more")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise RecipeError(f"lstm-guide: learning_rate is {self.learning_rate}, expected above 0")
        if not 0 <= self.memory < 1:
            raise RecipeError(f"lstm-guide: memory is {self.memory}, expected in [0, 1)")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group.

        Raises:
            PlanError: no channels can be cut (says why), or two ratios for one group.
            BudgetError: the limit asks for more than all groups together have.
        """
        return self.guided(network, calibration)[0]

    def guided(self, network: Network, calibration: Calibration) -> tuple[Plan, Lessons]:
        """The plan, and what the controller's training saw on the way to it; raises what :meth:`plan` raises."""
        graph = Graph.of(network)
        groups = cuttable(self, network, graph)
        scores = reader_sums(network, groups)
        curves = asked_curves(self, network, groups, scores, calibration)
        limit = _Limit(self, network, graph, groups)
        trial = Trial(network, calibration.first(self.images), self.updates)
        if not limit.open:
            return self._plan(groups, limit.fixed, scores, curves, Lessons()), Lessons()

        def accuracy(counts: Mapping[str, int]) -> float:
            return trial.accuracy(
                KeepChannels(group.name, highest(scores[group.name], counts[group.name]))
                for group in groups
                if counts[group.name] < len(group)
            )

        def reward(decision: Decision) -> float:
            counts = limit.counts(self.fractions[choice] for choice in decision)
            return accuracy(counts) - self.penalty * max(0.0, limit.cost(counts) / limit.most - 1)

        controller = Controller(descriptions(network, limit.open), len(self.fractions), calibration.seed)
        generator = torch.Generator().manual_seed(calibration.seed)
        lessons = reinforce(controller, reward, self.rounds, self.episodes, self.learning_rate, self.memory, generator)
        finalists = dict.fromkeys([controller.likeliest(), *lessons.best(_FINALISTS)])
        moved = [limit.met([self.fractions[choice] for choice in decision]) for decision in finalists]
        return self._plan(groups, max(moved, key=accuracy), scores, curves, lessons), lessons

    def _plan(
        self,
        groups: tuple[ChannelGroup, ...],
        counts: Mapping[str, int],
        scores: Scores,
        curves: Mapping[str, Curve],
        lessons: Lessons,
    ) -> Plan:
        keep = {group.name: highest(scores[group.name], counts[group.name]) for group in groups}
        why = "the kernels that read them"
        if lessons.rounds:
            why += (
                f", shared by an LSTM (mean reward {lessons.rounds[0]:.2f} at first, {lessons.rounds[-1]:.2f} at last)"
            )
        return channel_plan(self.NAME, groups, keep, scores, why, curves)


class _Limit:
    """What a cut may cost, and how far decisions must be moved to meet that."""

    def __init__(self, options: LstmGuide, network: Network, graph: Graph, groups: tuple[ChannelGroup, ...]) -> None:
        self._options = options
        self.fixed = fixed_counts(options, graph, groups)
        self.open = tuple(group for group in groups if group.name not in self.fixed)
        sizes = {group.name: len(group) for group in self.open}
        cost, self.most, self._field = limit_of(options, network, graph, sizes)
        # Without a limit: as many channels as the same ratio of every group would leave.
        self._cost = cost or (lambda kept: float(sum(kept[name] for name in sizes)))
        if cost is None:
            self.most = float(sum(kept_of(options, size, options.ratio) for size in sizes.values()))

    def counts(self, fractions: Iterable[float]) -> dict[str, int]:
        """Channels of each group when these fractions of the open groups go."""
        kept = {
            group.name: kept_of(self._options, len(group), min(max(fraction, 0.0), 1.0))
            for group, fraction in zip(self.open, fractions, strict=True)
        }
        return {**self.fixed, **kept}

    def cost(self, counts: Mapping[str, int]) -> float:
        return self._cost(counts)

    def met(self, fractions: list[float]) -> dict[str, int]:
        """The counts where the fractions, all moved by the same amount, just meet the limit."""

        def moved(by: float) -> dict[str, int]:
            return self.counts(fraction + by for fraction in fractions)

        low, high = -1.0, 1.0
        if self.cost(moved(high)) > self.most:
            value = getattr(self._options, self._field)
            raise BudgetError(f"lstm-guide: {self._field} is {value}, more than these groups have together")
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.cost(moved(middle)) <= self.most else (middle, high)
        return moved(high)


@torch.no_grad()
def reader_sums(network: Network, groups: Iterable[ChannelGroup]) -> Scores:
    """By group, Σ|w| of all kernels that read each channel, each reader's as a share of its whole (channel-based)."""
    scores: Scores = {}
    for group in groups:
        total = torch.zeros(len(group) + 1, dtype=torch.float64)
        for path, of_entry in readers_of(network, group).items():
            sizes = weight_of(network.layer(path)).detach().double().abs().flatten()
            total.index_add_(0, of_entry.flatten() % (len(group) + 1), sizes / sizes.sum().clamp_min(1e-30))
        scores[group.name] = total[:-1]
    return scores


def descriptions(network: Network, groups: Iterable[ChannelGroup]) -> Tensor:
    """What the LSTM reads of each group: the layer that computes it, in numbers [groups, features].

    Kind (linear, grouped), channels in and out, kernel, stride, multiply-accumulates, readers, and place in the
    network; sizes as logarithms; each column normalised to mean 0 and deviation 1 (a constant column to 0).
    """
    costs, paths = macs(network), list(network.weighted())
    rows: list[list[float]] = []
    for group in groups:
        path = group.name.partition("#")[0]
        layer = network.layer(path)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        convolution = layer if isinstance(layer, nn.Conv2d) else None
        rows.append(
            [
                float(convolution is None),
                float(convolution is not None and convolution.groups > 1),
                math.log(weight_of(layer).shape[1]),
                math.log(len(group)),
                math.log(math.prod(pair(convolution.kernel_size))) if convolution else 0.0,
                math.log(math.prod(pair(convolution.stride))) if convolution else 0.0,
                math.log(max(1, costs[path])),
                float(len(group.consumers)),
                paths.index(path) / len(paths),
            ]
        )
    table = torch.tensor(rows, dtype=torch.float64)
    spread = table.std(0, correction=0)
    return (table - table.mean(0)) / torch.where(spread > 1e-9, spread, 1.0)


ENTRY = Entry(
    row="PR14",
    name="lstm-guide",
    family="pruning",
    paper="Zhong, Ding, Guo, Han, Wang: Where to Prune: Using LSTM to Guide End-to-end Pruning. IJCAI 2018.",
    options=LstmGuide,
)
