"""PR8: the LASSO path by hand, what it takes and leaves, and the least squares behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.errors import RecipeError
from camfit.forms import weight_of
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.methods.pruning.lasso_channels import LassoChannels, entries, path, refitted, select
from camfit.methods.pruning.reader_samples import Reader, readers
from camfit.methods.pruning.reconstruction import output_error
from camfit.network import INPUT, Add, Network, Node
from camfit.surgery import apply
from camfit.tasks.classification import cross_entropy
from camfit.trace import trace
from camfit.zoo import digits_cnn, resnet20
from methods.chain import chain, conv, kept


def images(count: int, *shape: int) -> Calibration:
    generator = torch.Generator().manual_seed(0)
    return Calibration(torch.randn(count, *shape, generator=generator), torch.arange(count) % 3)


def orthogonal() -> Reader:
    """Three channels read at three samples, each alone; they add 1, 3 and 2 there, to one output."""
    inputs = torch.eye(3).double()[:, :, None]
    weight = torch.tensor([[[1.0], [3.0], [2.0]]]).double()
    return Reader("b", inputs, weight, torch.tensor([[1.0], [3.0], [2.0]]).double(), True)


def test_the_path_is_the_soft_threshold_where_channels_do_not_overlap() -> None:
    """β_c = max(0, 1 − λ/‖X_c W_c‖²) for powers 1, 9 and 4 in units of their mean, 14/3."""
    alphas, betas = path([orthogonal()])
    powers = torch.tensor([1.0, 9.0, 4.0]).double() / (14 / 3)
    for alpha, beta in zip(alphas, betas.T, strict=True):
        assert beta.tolist() == pytest.approx((1 - alpha / powers).clamp_min(0).tolist(), abs=1e-9)
    assert entries([orthogonal()]).tolist() == pytest.approx(powers.tolist())


def test_as_many_channels_as_asked_for_are_chosen() -> None:
    assert [select([orthogonal()], count) for count in (1, 2, 3)] == [(1,), (1, 2), (0, 1, 2)]


def test_a_channel_that_only_repeats_another_is_not_taken_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 50, generator=generator).double()
    inputs = torch.stack([first, first, 0.5 * second], 1)[:, :, None]
    weight = torch.ones(1, 3, 1).double()
    reader = Reader("b", inputs, weight, inputs.sum((1, 2))[:, None], True)
    assert 2 in select([reader], 2)  # the largest two are the twins


def test_a_plan_keeps_the_channels_of_the_path() -> None:
    """a's first map is three times its second, but b takes a tenth of it: 0.3 against 1. The one left does it all."""
    network = chain((1, 3, 3), a=conv([[3.0], [1.0]]), b=conv([[0.1, 1.0]]), head=conv([[1.0]]))
    plan = LassoChannels(ratio=0.5, skip=("b",), ridge=1e-9).plan(network, images(8, 1, 3, 3))
    assert kept(plan) == {"a": (1,)}
    assert weight_of(apply(network, plan).layer("b")).item() == pytest.approx(1.3)


def test_new_weights_make_up_for_a_channel_that_the_others_span() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, 2, generator=generator).double()
    inputs[:, 2] = inputs[:, 0] - 2 * inputs[:, 1]
    weight = torch.randn(4, 3, 2, generator=generator).double()
    target = torch.einsum("sct,oct->so", inputs, weight)
    kept_channels = torch.tensor([0, 1])
    reader = Reader("b", inputs, weight, target, True)
    new = refitted(reader, kept_channels, 1e-9).weight
    expected = torch.stack([weight[:, 0] + weight[:, 2], weight[:, 1] - 2 * weight[:, 2]], 1)
    torch.testing.assert_close(new, expected, rtol=1e-6, atol=1e-6)
    bound = Reader("b", inputs, weight, target, False)
    assert torch.equal(refitted(bound, kept_channels, 1e-9).weight, weight[:, :2])


def test_a_bias_takes_the_mean_that_goes() -> None:
    """A channel that is always 5 adds 10 to the one output: the bias takes it, and the other weight stays."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.stack([torch.randn(30, generator=generator).double(), torch.full((30,), 5.0).double()], 1)[
        :, :, None
    ]
    weight = torch.tensor([[[3.0], [2.0]]]).double()
    target = torch.einsum("sct,oct->so", inputs, weight)
    rebuilt = refitted(Reader("b", inputs, weight, target, True, biased=True), torch.tensor([0]), 1e-12)
    assert rebuilt.weight.flatten().tolist() == pytest.approx([3.0])
    assert rebuilt.bias is not None
    assert rebuilt.bias.tolist() == pytest.approx([10.0])
    assert refitted(Reader("b", inputs, weight, target, True), torch.tensor([0]), 1e-12).bias is None


@pytest.mark.parametrize("biased", [False, True])
def test_moments_are_those_of_the_samples(biased: bool) -> None:
    """The path's Gram matrix is that of what channels add, output by output."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 3, 2, generator=generator).double() + 1
    weight = torch.randn(4, 3, 2, generator=generator).double()
    target = torch.randn(20, 4, generator=generator).double()
    reader = Reader("b", inputs, weight, target, True, biased)
    around = inputs - inputs.mean(0) if biased else inputs
    parts = torch.einsum("sct,oct->cso", around, weight).flatten(1)
    torch.testing.assert_close(reader.added_gram(), parts @ parts.T)
    torch.testing.assert_close(reader.moments[0].flatten(2).flatten(0, 1), around.flatten(1).T @ around.flatten(1))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_3x3_layers_samples_are_those_of_its_window(stride: int) -> None:
    torch.manual_seed(0)
    layers = {"a": nn.Conv2d(2, 5, 1), "b": nn.Conv2d(5, 4, 3, stride=stride, padding=(1, 2), dilation=(2, 1))}
    network = chain((2, 9, 7), **layers)
    (group,) = Graph.of(network).groups
    (reader,) = readers(network, network, group, images(3, 2, 9, 7), 4, {})
    given = torch.einsum("sct,oct->so", reader.inputs, reader.weight)
    torch.testing.assert_close(given, reader.target, rtol=1e-4, atol=1e-5)


def test_the_error_falls_by_fitting_and_is_below_that_of_random_channels() -> None:
    torch.manual_seed(3)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    data = images(128, 1, 8, 8)
    group = Graph.of(network).group("conv2")
    found = readers(network, network, group, data, 10, {})
    keep = torch.tensor(select(found, len(group) // 2))
    before = output_error(found, {r.layer: r.weight[:, keep] for r in found}, keep)
    after = output_error(found, {r.layer: refitted(r, keep, 1e-3).weight for r in found}, keep)
    assert after < 0.5 * before
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = torch.randperm(len(group), generator=generator)[: len(keep)].sort().values
        assert after < output_error(found, {r.layer: refitted(r, other, 1e-3).weight for r in found}, other)


def relative_error(network: Network, cut: Network, data: Calibration) -> float:
    with torch.no_grad():
        expected = network(data.inputs)
        return float((cut(data.inputs) - expected).square().sum() / expected.square().sum())


@pytest.mark.parametrize("seed", range(3))
def test_a_residual_network_cut_as_a_whole_stays_nearer_than_by_norms(seed: int) -> None:
    """Streams, branches and the classifier at once; errors are judged on images that were not sampled."""
    torch.manual_seed(seed)
    network = trace(resnet20.build((3, 16, 16), 10, depth=8, width=8), (3, 16, 16))
    network.train()
    network(torch.randn(64, 3, 16, 16))
    network.eval()
    data = images(128, 3, 16, 16)
    fresh = Calibration(torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(9)), data.targets[:64])
    lasso = apply(network, LassoChannels(ratio=0.25).plan(network, data))
    norms = apply(network, L1Filters(ratio=0.25).plan(network, data))
    assert [tuple(w.weight.shape) for w in lasso.weighted().values()] == [  # type: ignore[union-attr]
        tuple(w.weight.shape)
        for w in norms.weighted().values()  # type: ignore[union-attr]
    ]
    assert relative_error(network, lasso, fresh) < 0.7 * relative_error(network, norms, fresh)


def test_a_branch_in_front_of_a_sum_makes_up_for_what_the_other_side_lost() -> None:
    """The last layer of a branch aims at Y1 - Y1' + Y2, before its batch-norm: the loss over that one's factor, 2."""
    norm = nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        norm.weight.fill_(2.0)
        norm.bias.fill_(7.0)
    layers: dict[str, nn.Module] = {
        "a": conv([[1.0], [2.0]]), "q": conv([[1.0, 0.5]] * 3), "b": conv([[1.0, 2.0, 3.0]] * 2), "norm": norm,
        "add": Add(), "head": conv([[1.0, 1.0]]),
    }  # fmt: skip
    calls = (("a", "a", (INPUT,)), ("q", "q", ("a",)), ("b", "b", ("q",)), ("norm", "norm", ("b",)),
             ("add", "add", ("norm", "a")), ("head", "head", ("add",)))  # fmt: skip
    whole = Network(tuple(Node(*call) for call in calls), layers, (1, 1, 1)).eval()
    hurt = whole.clone()
    with torch.no_grad():
        hurt.layer("a").weight.mul_(0.5)  # type: ignore[operator, union-attr]
    data = Calibration(torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64))
    group = Graph.of(hurt).group("q")
    (reader,) = readers(whole, hurt, group, data, 1, {})
    # q = 1 + 0.5·2 = 2 and b gave 12; a gave (1, 2) and gives (0.5, 1): it lost 0.5 and 1, a half of which b makes up.
    assert reader.target.tolist() == [[12.25, 12.5]]


def test_groups_losses_are_judged_on_images_that_nothing_is_fitted_to() -> None:
    """The last quarter; and the limit holds."""
    torch.manual_seed(0)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    judged: list[torch.Tensor] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        judged.append(targets)
        return cross_entropy(outputs, targets)

    data = replace(images(32, 1, 8, 8), targets=torch.arange(32) % 10, loss=loss)
    plan = LassoChannels(macs=0.4, allocation="least-loss", selection="backward").plan(network, data)
    assert judged
    assert all(torch.equal(targets, data.targets[-8:]) for targets in judged)
    left = sum(macs(apply(network, plan)).values()) / sum(macs(network).values())
    assert 0.5 < left <= 0.6
    for curve in plan.curves.values():
        assert curve[0][0] == 0
        assert len(curve) >= 4


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="ridge is 0, expected above 0"):
        LassoChannels(ridge=0)
    with pytest.raises(RecipeError, match="images is 0"):
        LassoChannels(images=0)
