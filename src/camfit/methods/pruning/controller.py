"""An LSTM that reads layers' descriptions one after the other and draws a decision for each, trained by REINFORCE.

Zhong et al., IJCAI 2018; Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
Learning, Machine Learning 8, 1992.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Decision = tuple[int, ...]
"""For each layer, the number of the choice taken there."""

_HIDDEN = 32


class Controller(nn.Module):
    """Probabilities of every layer's choices, given its description and the choice at the layer before.

    Args:
        descriptions: one row a layer, each column of mean 0 and deviation about 1 [layers, features].
        choices: that each layer has.
        seed: of the initial weights.
    """

    def __init__(self, descriptions: Tensor, choices: int, seed: int) -> None:
        super().__init__()
        self.descriptions, self.choices = descriptions.float(), choices
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(descriptions.shape[1] + choices, _HIDDEN)
            self.head = nn.Linear(_HIDDEN, choices)
        # At first every choice is as likely as any other.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def walk(self, count: int, choose: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Goes through the layers ``count`` times at once.

        Args:
            choose: (layer's number, log-probabilities [count, choices]) -> choices taken [count].

        Returns:
            (choices [count, layers], log-probability of each whole decision [count]).
        """
        hidden = cell = torch.zeros(count, _HIDDEN)
        before = torch.zeros(count, self.choices)
        total = torch.zeros(count)
        taken: list[Tensor] = []
        for number, description in enumerate(self.descriptions):
            hidden, cell = self.cell(torch.cat([description.expand(count, -1), before], 1), (hidden, cell))
            logs = self.head(hidden).log_softmax(1)
            taken.append(choose(number, logs.detach()))
            total = total + logs.gather(1, taken[-1][:, None])[:, 0]
            before = nn.functional.one_hot(taken[-1], self.choices).float()
        return torch.stack(taken, 1), total

    def drawn(self, count: int, generator: torch.Generator) -> tuple[list[Decision], Tensor]:
        """(decisions drawn by their probabilities, their log-probabilities [count])."""
        taken, logs = self.walk(count, lambda _, log: torch.multinomial(log.exp(), 1, generator=generator)[:, 0])
        return [tuple(row) for row in taken.tolist()], logs

    def likeliest(self) -> Decision:
        """The decision that takes the likeliest choice at each layer."""
        with torch.no_grad():
            taken, _ = self.walk(1, lambda _, log: log.argmax(1))
        return tuple(taken[0].tolist())


@dataclass(frozen=True)
class Lessons:
    """What training saw: the mean reward of each round, and every decision's reward."""

    rounds: list[float] = field(default_factory=list)
    rewards: dict[Decision, float] = field(default_factory=dict)

    def best(self, count: int) -> list[Decision]:
        """The decisions of the highest rewards, the best first; of equal ones the first drawn."""
        return sorted(self.rewards, key=lambda decision: -self.rewards[decision])[:count]


def policy_loss(logs: Tensor, rewards: Tensor, baseline: float) -> Tensor:
    """−mean (R − b)·log π(decision): its gradient is REINFORCE's estimate of −∂E[R].

    Args:
        logs: log-probabilities of the decisions drawn [count].
        rewards: of these [count].
        baseline: b, which changes the estimate's variance and not its mean.
    """
    return -((rewards - baseline) * logs).mean()


def reinforce(
    controller: Controller,
    reward: Callable[[Decision], float],
    rounds: int,
    episodes: int,
    rate: float,
    memory: float,
    generator: torch.Generator,
) -> Lessons:
    """Trains the controller in place; the baseline is a moving average of the rounds' mean rewards.

    Args:
        reward: of a decision; asked once for each.
        rounds: gradient steps (Adam).
        episodes: decisions drawn for each.
        rate: Adam's learning rate.
        memory: share of the baseline that a round leaves, in [0, 1).
    """
    optimizer = torch.optim.Adam(controller.parameters(), lr=rate)
    lessons = Lessons()
    baseline = 0.0
    with torch.enable_grad():
        for number in range(rounds):
            decisions, logs = controller.drawn(episodes, generator)
            for decision in decisions:
                if decision not in lessons.rewards:
                    lessons.rewards[decision] = reward(decision)
            rewards = torch.tensor([lessons.rewards[decision] for decision in decisions])
            mean = float(rewards.mean())
            baseline = memory * baseline + (1 - memory) * mean if number else mean
            optimizer.zero_grad()
            policy_loss(logs, rewards, baseline).backward()
            optimizer.step()
            lessons.rounds.append(mean)
    return lessons
