from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.method import Calibration
from camfit.methods.pruning.extra_losses import ExtraLoss, depths, fitted_losses
from camfit.tasks.classification import accuracy
from camfit.trace import trace
from camfit.zoo import lenet5
from methods.chain import chain, conv, linear


def test_a_head_normalises_rectifies_averages_and_classifies() -> None:
    head = ExtraLoss(
        "a", torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([[1.0], [-3.0]]), torch.tensor([0.0, 1.0])
    )
    value = torch.tensor([[[[5.0, -9.0], [1.0, 3.0]]]])  # (2, 0, 0, 1) once normalised and rectified: 0.75
    assert head.outputs(value).tolist() == [pytest.approx([0.75, -1.25])]


def test_depths_are_even_and_leave_out_both_ends() -> None:
    network = trace(lenet5.build((1, 28, 28), 10), (1, 28, 28))
    assert depths(network, 3) == ("conv2", "fc1")
    assert depths(network, 1) == ("conv2",)
    assert depths(network, 0) == ()
    deep = chain((1, 2, 2), **{f"c{n}": conv([[1.0]]) for n in range(1, 13)})
    assert depths(deep, 3) == ("c3", "c6", "c9")


def test_a_head_tells_apart_what_the_layer_tells_apart() -> None:
    torch.manual_seed(0)
    targets = torch.arange(300) % 3
    images = torch.randn(300, 3) + 4 * nn.functional.one_hot(targets, 3)
    network = chain(
        (3,), a=linear(torch.eye(3).tolist()), b=linear(torch.eye(3).tolist()), c=linear(torch.eye(3).tolist())
    )
    (head,) = fitted_losses(network, Calibration(images, targets), 2)
    assert head.value == "b"
    assert accuracy(head.outputs(images), targets) > 0.9


def test_a_network_without_classes_has_no_heads() -> None:
    network = chain((1, 2, 2), **{f"c{n}": conv([[1.0]]) for n in range(1, 5)})
    assert fitted_losses(network, Calibration(torch.zeros(2, 1, 2, 2), torch.zeros(2).long()), 3) == ()
