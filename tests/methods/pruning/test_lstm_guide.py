from __future__ import annotations

import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.errors import BudgetError, RecipeError
from camfit.evaluate import predict
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.lstm_guide import LstmGuide, descriptions, reader_sums
from camfit.methods.pruning.plan_channels import plan_channels
from camfit.methods.pruning.trial import Trial
from camfit.network import Network
from camfit.plan import KeepChannels
from camfit.surgery import apply
from camfit.tasks.classification import accuracy
from camfit.trace import trace
from camfit.zoo import digits_cnn
from methods.chain import chain, conv, kept, linear

CLASSES = 8


def one_useless() -> tuple[Network, Calibration]:
    """a: 8 channels, each of them one class. b: 32, of which 8 carry these on and 24 are heard a little for nothing."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(256) % CLASSES
    images = nn.functional.one_hot(targets, CLASSES) + 0.05 * torch.randn(256, CLASSES, generator=generator)
    unit = torch.eye(CLASSES)
    network = chain(
        (CLASSES,),
        a=linear(unit.tolist()),
        b=linear(torch.cat([unit, torch.zeros(24, CLASSES)]).tolist()),
        head=linear(torch.cat([unit, 0.01 * torch.ones(CLASSES, 24)], 1).tolist()),
    )
    return network, Calibration(images, targets)


def right(network: Network, data: Calibration) -> float:
    return accuracy(predict(network, data.inputs), data.targets)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_useless_layer_where_uniform_cuts_both(seed: int) -> None:
    network, data = one_useless()
    data = Calibration(data.inputs, data.targets, seed)
    options = LstmGuide(macs=0.6, updates=0)
    plan, lessons = options.guided(network, data)
    guided = apply(network, plan)
    uniform = apply(network, plan_channels(options, network, data, lambda g: reader_sums(network, g), "reader sums"))
    allowed = 0.4 * sum(macs(network).values())
    assert sum(macs(guided).values()) <= allowed and sum(macs(uniform).values()) <= allowed
    assert right(guided, data) == 1.0 > right(uniform, data)
    assert "a" not in kept(plan) and set(kept(plan)["b"]) >= set(range(8))
    assert sum(lessons.rounds[-5:]) > sum(lessons.rounds[:5])


def test_the_cut_is_as_wide_as_the_limit_allows() -> None:
    network, data = one_useless()
    plan = LstmGuide(macs=0.6, updates=0).plan(network, data)
    count = len(kept(plan)["b"])
    # a keeps 8: 64 + 16·b multiply-accumulates, of which 0.4·576 = 230.4 may stay.
    assert count == 10


def test_scores_are_of_the_kernels_that_read_a_channel() -> None:
    """Two readers, of sums 10 and 4: each counts as a share of its own."""
    network = chain((1, 1, 1), a=conv([[5.0], [9.0]]), b=conv([[-1.0, 2.0], [3.0, 4.0]]))
    assert reader_sums(network, Graph.of(network).groups)["a"].tolist() == [pytest.approx(0.4), pytest.approx(0.6)]


def test_recovery_brings_a_cut_network_back() -> None:
    torch.manual_seed(0)
    network = chain((6,), a=nn.Linear(6, 40), relu=nn.ReLU(), b=nn.Linear(40, 3))
    images = torch.randn(400, 6)
    data = Calibration(images, network(images).argmax(1))
    cut = [KeepChannels("a", tuple(range(12)))]
    assert Trial(network, data, 300).accuracy(cut) > Trial(network, data, 0).accuracy(cut) + 0.05
    assert Trial(network, data, 0).accuracy([]) == 1.0


def test_descriptions_tell_the_layers_apart() -> None:
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    table = descriptions(network, Graph.of(network).groups)
    assert len({tuple(row) for row in table.tolist()}) == len(table) > 1
    torch.testing.assert_close(table.mean(0), torch.zeros(table.shape[1], dtype=torch.float64), atol=1e-9, rtol=0)


def test_fixed_ratios_are_kept_and_out_of_reach_limits_are_refused() -> None:
    network, data = one_useless()
    assert len(kept(LstmGuide(ratios={"a": 0.25, "b": 0.5}).plan(network, data))["a"]) == 6
    with pytest.raises(BudgetError, match="lstm-guide: macs is 0.999, more than these groups have"):
        LstmGuide(macs=0.999, updates=0, rounds=1).plan(network, data)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="fractions is \\(0.5,\\), expected two or more"):
        LstmGuide(fractions=(0.5,))
    with pytest.raises(RecipeError, match="the guide allocates"):
        LstmGuide(allocation="global")
    with pytest.raises(RecipeError, match="memory is 1, expected in"):
        LstmGuide(memory=1)
