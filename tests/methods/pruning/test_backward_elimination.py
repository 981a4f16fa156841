from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camfit.methods.pruning.backward_elimination import eliminated
from camfit.methods.pruning.lasso_channels import LassoChannels, added_errors, refitted
from camfit.methods.pruning.reader_samples import Reader


def reader(seed: int, channels: int = 6, taps: int = 1, biased: bool = False, free: bool = True) -> Reader:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels * taps, channels * taps, generator=generator).double()
    inputs = (torch.randn(50, channels * taps, generator=generator).double() @ mixing + 1).reshape(50, channels, taps)
    weight = torch.randn(3, channels, taps, generator=generator).double()
    target = torch.einsum("sct,oct->so", inputs, weight) + (2.0 if biased else 0.0)
    return Reader("b", inputs, weight, target, free, biased)


def error(found: Reader, kept: Tensor, ridge: float) -> float:
    """Of the best fit, as a share of the target's power."""
    rebuilt = refitted(found, kept, ridge)
    given = torch.einsum("sct,oct->so", found.inputs[:, kept], rebuilt.weight)
    given = given + (0 if rebuilt.bias is None else rebuilt.bias)
    power = (found.target - found.target.mean(0)) if found.biased else found.target
    return float((found.target - given).square().sum() / power.square().sum())


@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("biased", [False, True])
def test_every_step_is_the_best_of_all_and_its_price_is_the_refitted_error(taps: int, biased: bool) -> None:
    """Brute force: each remaining channel left out, the others fitted anew."""
    found = reader(taps, taps=taps, biased=biased)
    order, added = eliminated([found], 1e-12)
    left = list(range(6))
    for step, channel in enumerate(order[:-1].tolist()):
        errors = {c: error(found, torch.tensor([k for k in left if k != c]), 1e-12) for c in left}
        assert channel == min(errors, key=errors.__getitem__)
        assert float(added[: step + 1].sum()) == pytest.approx(errors[channel], rel=1e-5, abs=1e-9)
        left.remove(channel)
    assert float(added.sum()) == pytest.approx(1)


def test_a_channel_that_others_span_goes_first_for_nothing() -> None:
    found = reader(3)
    found.inputs[:, 4] = 2 * found.inputs[:, 0] - found.inputs[:, 2]
    target = torch.einsum("sct,oct->so", found.inputs, found.weight)
    order, added = eliminated([Reader("b", found.inputs, found.weight, target, True)], 1e-10)
    assert int(order[0]) in (0, 2, 4)
    assert float(added[0]) < 1e-6


def test_weights_that_stay_lose_what_the_removed_add_up_to() -> None:
    """Channels that add 3, -3 and 1: without the last the error is 1, with the second gone too (1 - 3)^2 = 4."""
    inputs = torch.ones(1, 3, 1).double()
    weight = torch.tensor([[[3.0], [-3.0], [1.0]]]).double()
    order, added = eliminated([Reader("b", inputs, weight, torch.tensor([[1.0]]).double(), False)], 1e-3)
    assert order.tolist() == [2, 1, 0]
    assert added.tolist() == [1.0, 3.0, 0.0]  # at last the error falls to 1 again, which counts as no more


def test_readers_share_the_decision_by_their_outputs_power() -> None:
    """To the first reader channel 0 is a tenth of the power, to the second, 100 times as strong, channel 1 is."""
    inputs = torch.eye(2).double()[:, :, None]
    readers = [
        Reader("b", inputs, torch.tensor([[[1.0], [3.0]]]).double(), torch.tensor([[1.0], [3.0]]).double(), True),
        Reader("c", inputs, torch.tensor([[[20.0], [10.0]]]).double(), torch.tensor([[20.0], [10.0]]).double(), True),
    ]
    order, added = eliminated(readers, 1e-12)
    assert order.tolist() == [0, 1]
    assert added.tolist() == pytest.approx([0.1 + 0.8, 0.9 + 0.2])


def test_scores_follow_the_order() -> None:
    found = reader(5)
    order, _ = eliminated([found], 1e-3)
    assert added_errors([found], 1e-3).argsort().tolist() == order.tolist()


def test_the_plan_takes_it_by_name() -> None:
    assert LassoChannels(selection="backward").selection == "backward"
    with pytest.raises(Exception, match="selection is 'forward', expected 'lasso' or 'backward'"):
        LassoChannels(selection="forward")  # type: ignore[arg-type]
