from __future__ import annotations

import itertools

import pytest
import torch

from camfit.methods.pruning.controller import Controller, Decision, policy_loss, reinforce


def test_the_policy_gradient_of_two_actions_is_that_worked_by_hand() -> None:
    """p = (¾, ¼). Action 0 drawn with R = 2, action 1 with R = −1, b = 0.5: ∂ log π(a)/∂z = 1[a] − p."""
    logits = torch.tensor([3.0, 1.0]).log().requires_grad_()
    logs = logits.log_softmax(0)[torch.tensor([0, 1])]
    policy_loss(logs, torch.tensor([2.0, -1.0]), 0.5).backward()
    # −½·[1.5·(¼, −¼) + (−1.5)·(−¾, ¾)] = −½·(0.375 + 1.125, −1.5)
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([-0.75, 0.75])


def test_the_baseline_does_not_move_the_mean_gradient() -> None:
    """Over both actions, weighted by their probabilities, −(R − b)·∂ log π is −∂E[R] whatever b is."""
    p = torch.tensor([0.8, 0.2])
    rewards = torch.tensor([1.0, 3.0])
    # E[R] = p·R, so ∂E[R]/∂z_a = p_a·(R_a − E[R]).
    exact = p * (rewards - p @ rewards)
    for baseline in (0.0, 1.0, -7.0):
        total = torch.zeros(2)
        for action in range(2):
            logits = p.log().requires_grad_()
            policy_loss(logits.log_softmax(0)[action : action + 1], rewards[action : action + 1], baseline).backward()
            assert logits.grad is not None
            total -= p[action] * logits.grad
        torch.testing.assert_close(total, exact)


def test_probabilities_of_all_decisions_add_up_to_one() -> None:
    controller = Controller(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), 2, seed=1)
    with torch.no_grad():
        controller.head.weight.normal_(generator=torch.Generator().manual_seed(2))
        every = torch.tensor(list(itertools.product(range(2), repeat=3)))
        taken, logs = controller.walk(len(every), lambda number, _: every[:, number])
    assert torch.equal(taken, every)
    assert float(logs.exp().sum()) == pytest.approx(1.0)
    assert len(set(logs.tolist())) == len(every)
    assert controller.likeliest() != tuple(every[int(logs.argmin())].tolist())


def matches(decision: Decision) -> float:
    """The share of layers that take what is best there: 2, 0, 1, 2."""
    return sum(a == b for a, b in zip(decision, (2, 0, 1, 2), strict=True)) / 4


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_reward_rises_to_that_of_the_best_decision(seed: int) -> None:
    descriptions = torch.randn(4, 5, generator=torch.Generator().manual_seed(9))
    controller = Controller(descriptions, 3, seed)
    generator = torch.Generator().manual_seed(seed)
    lessons = reinforce(controller, matches, 120, 8, 0.03, 0.8, generator)
    early, late = sum(lessons.rounds[:10]) / 10, sum(lessons.rounds[-10:]) / 10
    assert early < 0.6 and late > 0.9
    assert controller.likeliest() == (2, 0, 1, 2)
    assert lessons.best(1) == [(2, 0, 1, 2)]


def test_a_decision_is_asked_for_once() -> None:
    asked: list[Decision] = []

    def reward(decision: Decision) -> float:
        asked.append(decision)
        return matches(decision)

    controller = Controller(torch.zeros(4, 2), 3, seed=0)
    reinforce(controller, reward, 30, 8, 0.05, 0.8, torch.Generator().manual_seed(0))
    assert len(asked) == len(set(asked))


def test_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    controller = Controller(torch.zeros(4, 2), 3, seed=0)
    reinforce(controller, matches, 3, 4, 0.05, 0.8, torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(3), expected)
