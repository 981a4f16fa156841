"""Discrimination-aware channel pruning (PR10): its extra losses, its greedy choice by gradients, when it stops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.errors import RecipeError
from camfit.evaluate import predict
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.discrimination_aware import DiscriminationAware, selected
from camfit.methods.pruning.joint_loss import JointLoss
from camfit.methods.pruning.taylor import Taylor
from camfit.network import Network
from camfit.plan import KeepChannels, SetValues
from camfit.storage import network_bytes
from camfit.surgery import apply
from camfit.tasks.classification import accuracy
from camfit.trace import trace
from camfit.zoo import digits_cnn
from methods.chain import chain, conv, kept, linear


def joint(network: Network, data: Calibration, balance: float = 1.0) -> JointLoss:
    """Of the network's first group, against its own values, with the network's own loss."""
    network.requires_grad_(False)
    group = Graph.of(network).groups[0]
    return JointLoss(network, network.values(data.inputs), group, (), data, balance)


def test_the_gradient_norms_are_those_worked_by_hand() -> None:
    """Two images (1, 2) and (3, 0), two hidden channels that pass them on, and the output y = 2·h₀ − h₁."""
    network = chain((2,), a=linear([[1.0, 0.0], [0.0, 1.0]]), b=linear([[2.0, -1.0]]))
    images = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    data = Calibration(images, torch.zeros(2, dtype=torch.int64), loss=lambda outputs, _: outputs.sum() / 2)
    loss = joint(network, data, balance=0.5)
    # y = (0, 6). Without channels the output is 0: L = ½·36/36 + 0.5·0, and
    # ∂L/∂w_k = −Σ y·h_k / 36 + 0.5·Σ h_k / 2: for k = 0 it is −18/36 + 1 = 0.5, for k = 1 it is 0 + 0.5.
    value, slopes = loss.with_slopes(loss.weights_of(torch.tensor([False, False])))
    assert value == pytest.approx(0.5)
    assert slopes["b"].tolist() == [pytest.approx([0.5, 0.5])]
    # With channel 0 in, y' = (2, 6) and the error is (2, 0): L = ½·4/36 + 0.5·4, and for k = 1: 4/36 + 0.5.
    value, slopes = loss.with_slopes(loss.weights_of(torch.tensor([True, False])))
    assert value == pytest.approx(2 / 36 + 2)
    assert loss.norms(slopes).tolist() == pytest.approx([2 / 36 + 1, 4 / 36 + 0.5])


def test_a_channels_norm_is_over_all_its_kernels_in_all_its_readers() -> None:
    """Two places of each channel behind the flatten: channel 0 is read by columns 0 and 1."""
    network = chain((1, 1, 2), a=conv([[1.0], [2.0]]), flat=nn.Flatten(), b=linear([[1.0, 1.0, 1.0, 1.0]]))
    loss = joint(network, Calibration(torch.ones(1, 1, 1, 2), torch.zeros(1, dtype=torch.int64)))
    assert loss.norms({"b": torch.tensor([[3.0, 4.0, 5.0, 12.0]])}).tolist() == [5.0, 13.0]


def test_channels_join_by_the_gradient_that_is_left() -> None:
    """Channels 0 and 1 say the same, loudly, 2 is alone: with 0 in, the error left is what 2 explains."""
    network = chain((2,), a=linear([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0]]), b=linear([[2.0, 0.01, 0.0], [0.0, 0.0, 1.0]]))
    data = Calibration(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(50).long())
    loss = joint(network, data, balance=0.0)
    first = loss.without_channels()
    assert first.argsort(descending=True).tolist() == [0, 1, 2]
    channels, weights = selected(loss, 2, updates=0)
    assert channels == (0, 2)
    assert weights["b"].tolist() == [[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_the_stopping_condition_ends_where_a_channel_adds_too_little() -> None:
    """Errors with 0, 1, 2 of the three channels: 1.26/2, 0.26/2, 0.01/2 of the power."""
    network = chain((3,), a=linear(torch.eye(3).tolist()), b=linear([[1.0, 0, 0], [0, 0.5, 0], [0, 0, 0.1]]))
    data = Calibration(torch.eye(3), torch.zeros(3).long())
    loss = joint(network, data, balance=0.0)
    assert selected(loss, 3, updates=0, tolerance=0.0)[0] == (0, 1, 2)
    # The second lowers the loss by 0.25/1.26 = 0.198 of it, the third by 0.01/1.26 = 0.0079.
    assert selected(loss, 3, updates=0, tolerance=0.01)[0] == (0, 1, 2)
    assert selected(loss, 3, updates=0, tolerance=0.2)[0] == (0, 1)
    assert selected(loss, 2, updates=0, tolerance=0.01)[0] == (0, 1)


def test_updates_lower_the_loss_and_leave_other_weights_at_zero() -> None:
    torch.manual_seed(1)
    network = chain((4,), a=nn.Linear(4, 6), relu=nn.ReLU(), b=nn.Linear(6, 5))
    data = Calibration(torch.randn(40, 4), torch.arange(40) % 5)
    loss = joint(network, data)
    channels, still = selected(loss, 3, updates=0)
    again, moved = selected(loss, 3, updates=5)
    gone = [k for k in range(6) if k not in again]
    assert len(channels) == len(again) == 3
    assert not bool(moved["b"][:, gone].any())
    assert loss.with_slopes(moved)[0] < loss.with_slopes(still)[0]


def loud_and_telling() -> tuple[Network, Calibration]:
    """Channel 0 is loud and says nothing of the class; channel 1 is soft and is the class. The classifier reads both."""
    torch.manual_seed(0)
    targets = torch.arange(200) % 2
    images = torch.stack([10 * torch.randn(200), 2.0 * targets - 1 + 0.1 * torch.randn(200)], 1)
    network = chain(
        (2,),
        a=linear([[1.0, 0.0], [0.0, 1.0]]),
        b=linear([[1.0, 0.0], [0.0, 1.0]]),
        head=linear([[0.0, -3.0], [0.0, 3.0]]),
    )
    return network, Calibration(images, targets)


def test_discrimination_keeps_the_telling_channel_where_reconstruction_keeps_the_loud_one() -> None:
    network, data = loud_and_telling()
    assert accuracy(network(data.inputs), data.targets) == 1.0
    options = {"ratio": 0.0, "ratios": {"a": 0.5}}
    aware = DiscriminationAware(**options).plan(network, data)
    blind = DiscriminationAware(**options, balance=0.0).plan(network, data)
    assert kept(aware)["a"] == (1,) and kept(blind)["a"] == (0,)
    assert accuracy(predict(apply(network, aware), data.inputs), data.targets) == 1.0
    drawn = [
        accuracy(predict(apply(network, plan), data.inputs), data.targets)
        for seed in range(10)
        for plan in [Taylor(**options, criterion="random").plan(network, Calibration(data.inputs, data.targets, seed))]
    ]
    assert sum(drawn) / len(drawn) < 0.9


def test_the_extra_losses_are_gone_and_the_original_is_untouched() -> None:
    torch.manual_seed(3)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    data = Calibration(torch.randn(64, 1, 8, 8), torch.arange(64) % 10)
    before = network_bytes(network)
    plan = DiscriminationAware(macs=0.5, losses=2, balance=2.0).plan(network, data)
    assert network_bytes(network) == before
    assert {type(edit) for edit in plan} == {KeepChannels, SetValues}
    done = apply(network, plan)
    assert done.layer_paths() == network.layer_paths() and done.nodes == network.nodes
    assert sum(macs(done).values()) <= 0.5 * sum(macs(network).values())
    assert "2 extra losses" in plan.reason


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="balance is -1, expected 0 or more"):
        DiscriminationAware(balance=-1)
    with pytest.raises(RecipeError, match="images is 0, expected 1 or more"):
        DiscriminationAware(images=0)
