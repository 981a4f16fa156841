"""Cross entropy and accuracy."""

import math

import numpy as np
import pytest
import torch

from camfit.errors import DataError
from camfit.tasks import classification

TASK = classification()
LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])


def test_the_loss_is_the_mean_negative_log_probability() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]], requires_grad=True)
    loss = TASK.loss(logits, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.125, -0.125])


def test_accuracy_counts_the_highest_logit() -> None:
    labels = torch.tensor([0, 1, 1, 2])  # the third is a tie, which the first class wins
    assert TASK.metric(LOGITS, labels) == 0.75
    assert TASK.metric(LOGITS.numpy(), labels.numpy()) == 0.75
    assert TASK.metric(LOGITS.numpy(), labels) == 0.75
    assert TASK.metric_name == "accuracy"


def test_a_logit_that_is_not_a_number_is_wrong() -> None:
    logits = LOGITS.clone()
    logits[0, 2] = logits[1, 1] = float("nan")
    assert TASK.metric(logits, np.array([2, 1, 0, 2])) == 0.5
    logits[3, 0] = -float("inf")
    assert TASK.metric(logits, np.array([2, 1, 0, 2])) == 0.5


@pytest.mark.parametrize(("outputs", "labels"), [((4, 3), (3,)), ((4, 3, 1), (4,)), ((4,), (4,)), ((4, 3), (4, 1))])
def test_shapes_that_do_not_match_are_refused(outputs: tuple[int, ...], labels: tuple[int, ...]) -> None:
    for function in (TASK.loss, TASK.metric):
        with pytest.raises(DataError, match=r"expected \[N, classes\] and \[N\]"):
            function(torch.zeros(outputs), torch.zeros(labels, dtype=torch.int64))


def test_a_label_beyond_the_outputs_is_refused() -> None:
    with pytest.raises(DataError, match=r"labels run from 0 to 3; expected 0\.\.2"):
        TASK.loss(LOGITS, torch.tensor([0, 1, 2, 3]))


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        TASK.metric(np.zeros((0, 3)), np.zeros(0, np.int64))
