from __future__ import annotations

import math

import pytest
import torch

from camfit.methods.pruning.information import information_gain


def test_a_value_that_tells_the_label_has_the_labels_entropy() -> None:
    targets = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    values = torch.stack([targets * 1.0, -targets * 7.0, torch.ones(8)], 1)
    assert information_gain(values, targets).tolist() == pytest.approx([2.0, 2.0, 0.0])


def test_half_a_label_has_half_the_information() -> None:
    targets = torch.arange(4).repeat(4)
    values = (targets >= 2).double()[:, None]  # which half the label is in: one of two bits
    assert information_gain(values, targets).tolist() == pytest.approx([1.0])


def test_hand_computed_joint_entropies() -> None:
    # x = 0, 0, 0, 1 and y = 0, 0, 1, 1: H(x) = H(1/4), H(y) = 1, H(x, y) = H(1/2, 1/4, 1/4) = 1.5.
    values, targets = torch.tensor([[0.0], [0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1])
    of_x = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert information_gain(values, targets, bins=4).tolist() == pytest.approx([of_x + 1 - 1.5])


def test_scale_and_order_preserving_maps_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    values, targets = torch.randn(200, 3, generator=generator), torch.arange(200) % 5
    gain = information_gain(values, targets)
    assert torch.allclose(information_gain(1000 * values.double().exp(), targets), gain)
    assert float(gain.min()) >= 0
