from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from camfit.cost import macs
from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration
from camfit.methods.pruning.limit import Limit
from camfit.methods.pruning.structured_sparsity import Scale, StructuredSparsity, strided_mask
from camfit.network import Network
from camfit.plan import Constrain
from camfit.surgery import apply
from methods.chain import chain, kept

SHAPE = (4, 8, 8)


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return chain(
        SHAPE,
        conv1=nn.Conv2d(4, 10, 3, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(10, 6, 5), relu2=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
        fc=nn.Linear(6, 3),
    )  # fmt: skip


def calibration(seed: int = 0, images: int = 40) -> Calibration:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, *SHAPE, generator=generator)
    return Calibration(inputs, torch.randint(3, (images,), generator=generator), seed)


def masks(of: Network) -> dict[str, torch.Tensor]:
    found = {path: form_of(layer) for path, layer in of.weighted().items()}
    return {path: form.mask for path, form in found.items() if isinstance(form, Masked)}


def test_a_stride_of_three_from_offset_one_keeps_every_third_place() -> None:
    """3x3, places row by row: whole; offset 0 keeps 0, 3, 6; offset 1 keeps 1, 4, 7: columns of the kernel."""
    found = strided_mask(torch.tensor([[0, 1, 2]]), 3, (2, 3, 3, 3))
    whole, first, second = (torch.ones(3, 3), torch.tensor([[1, 0, 0]] * 3), torch.tensor([[0, 1, 0]] * 3))
    for row in found:
        assert torch.equal(row.float(), torch.stack([whole, first.float(), second.float()]))


def test_a_stride_of_two_makes_a_chequerboard() -> None:
    even = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool()
    found = strided_mask(torch.tensor([[1, 2]]), 2, (1, 2, 3, 3))
    assert torch.equal(found[0, 0], even) and torch.equal(found[0, 1], ~even)


def test_source_maps_of_a_grouped_convolution_are_its_groups_own() -> None:
    found = strided_mask(torch.tensor([[1], [2]]), 2, (4, 1, 1, 2))
    assert found.flatten(1).tolist() == [[True, False]] * 2 + [[False, True]] * 2


def test_all_kernels_that_read_a_source_map_have_one_stride_and_offset() -> None:
    result = apply(network(), StructuredSparsity("intra-kernel", 0.5, stride=3).plan(network(), calibration()))
    for path, mask in masks(result).items():
        assert bool((mask == mask[:1]).all()), "all outputs read the same places"
        lengths = mask[0].flatten(1).sum(1)
        area = mask[0, 0].numel()
        assert int((lengths == area).sum()) == {"conv1": 2, "conv2": 5}[path]
        for places in mask[0].flatten(1)[lengths < area]:
            at = places.nonzero()[:, 0]
            assert int(at[0]) < 3 and bool((at.diff() == 3).all()) and int(at[-1]) + 3 >= area


def test_the_lowered_matrix_loses_columns() -> None:
    """Stride 2 on all maps of a 5x5 layer leaves 12 or 13 of 25 columns a map, the same for every output channel."""
    plan = StructuredSparsity("intra-kernel", 1.0, skip=("conv1",)).plan(network(), calibration())
    lowered = weight_of(apply(network(), plan).layer("conv2")).detach().flatten(1)
    used = lowered.any(0).reshape(10, 25).sum(1)
    assert set(used.tolist()) <= {12, 13}


def test_a_stride_beyond_the_kernel_leaves_one_weight() -> None:
    plan = StructuredSparsity("intra-kernel", 1.0, stride=100, skip=("conv2",)).plan(network(), calibration())
    lengths = masks(apply(network(), plan))["conv1"].flatten(2).sum(2)
    assert bool((lengths == 1).all())


@pytest.mark.parametrize(("group", "rows"), [(1, 6), (4, 2)])
def test_kernels_go_whole_and_groups_of_outputs_share_them(group: int, rows: int) -> None:
    plan = StructuredSparsity("kernel", 0.4, group=group).plan(network(), calibration())
    mask = masks(apply(network(), plan))["conv2"]
    whole = mask.flatten(2)
    assert bool((whole.all(2) == whole.any(2)).all())
    units = whole.any(2)[::group]
    assert torch.equal(whole.any(2), units.repeat_interleave(group, 0)[:6])
    assert int((~units).sum()) == int(0.4 * 10 * rows)


def test_feature_maps_are_removed_from_every_group() -> None:
    plan = StructuredSparsity("feature-map", 0.5).plan(network(), calibration())
    assert {name: len(keep) for name, keep in kept(plan).items()} == {"conv1": 5, "conv2": 3}


def test_feature_maps_go_until_the_multiply_accumulates_have() -> None:
    plan = StructuredSparsity("feature-map", macs=0.5).plan(network(), calibration())
    share = sum(macs(apply(network(), plan)).values()) / sum(macs(network()).values())
    assert 0.4 < share <= 0.5


@pytest.mark.parametrize("name", ["macs", "weights", "size"])
@pytest.mark.parametrize("scale", ["kernel", "intra-kernel"])
def test_zeros_are_the_fewest_that_meet_a_limit(scale: Scale, name: str) -> None:
    """A kernel of the first layer has 64 times nine products of 47,000, and there are 64 ratios."""
    of = network()
    limit = Limit.of(of, name, 0.3)
    done = apply(of, StructuredSparsity(scale, rounds=0, **{name: 0.3}).plan(of, calibration()))  # type: ignore[arg-type]
    assert 0.9 * limit.most < limit.cost(done) <= limit.most


def test_a_limit_beyond_what_a_scale_can_zero_is_refused() -> None:
    with pytest.raises(BudgetError, match="macs is 0.9 at intra-kernel scale, more than can go: found"):
        StructuredSparsity("intra-kernel", macs=0.9).plan(network(), calibration())


def class_of_one_map() -> tuple[Network, Calibration]:
    """Class = which of input channels 0 and 1 is brighter; channels 2 and 3 are noise that the network ignores."""
    layer = nn.Conv2d(4, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.normal_(0, 1e-3)
        for o in range(2):
            layer.weight[o, o, 1, 1] = 1.0
    data = calibration(images=200)
    targets = (data.inputs[:, 1].mean((1, 2)) > data.inputs[:, 0].mean((1, 2))).long()
    of = chain(SHAPE, conv=layer, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    return of, Calibration(data.inputs, targets, 0)


def test_the_filter_keeps_what_classifies() -> None:
    """Only kernels (0, 0) and (1, 1) matter; half of the eight go, and a random pattern keeps both 3 times in 14."""
    of, data = class_of_one_map()
    plan = StructuredSparsity("kernel", 0.5).plan(of, data)
    (edit,) = plan.edits
    assert isinstance(edit, Constrain) and isinstance(edit.form, Masked)
    alive = edit.form.mask.flatten(2).any(2)
    assert bool(alive[0, 0]) and bool(alive[1, 1])


def test_the_filter_keeps_the_offset_that_classifies() -> None:
    """The centre of a 3x3 kernel is place 4: with stride 2 offset 0 keeps it, offset 1 does not."""
    of, data = class_of_one_map()
    plan = StructuredSparsity("intra-kernel", 1.0).plan(of, data)
    weight = weight_of(apply(of, plan).layer("conv"))
    assert bool((weight[:, :2, 1, 1].diagonal() == 1).all())


def test_feature_maps_are_tried_as_they_will_be_removed() -> None:
    """What the plan says it misclassifies is what the network without those channels does."""
    of, data = network(3), calibration(3, images=100)
    plan = StructuredSparsity("feature-map", 0.5, images=100).plan(of, data)
    wrong = float((apply(of, plan)(data.inputs).argmax(1) != data.targets).double().mean())
    assert f"misclassifies {wrong:.1%} of" in plan.reason


def test_earlier_zeros_count_and_stay() -> None:
    """Two rounds of a quarter each and one of half leave as many kernels; none comes back."""
    options = [StructuredSparsity("kernel", ratio) for ratio in (0.25, 0.5)]
    first = apply(network(), options[0].plan(network(), calibration()))
    second = apply(first, options[1].plan(first, calibration(1)))
    once = apply(network(), options[1].plan(network(), calibration()))
    for path, mask in masks(second).items():
        assert bool((mask <= masks(first)[path]).all())
        assert int(mask.sum()) == int(masks(once)[path].sum())


def test_no_rounds_draw_a_pattern_without_looking() -> None:
    blind = Calibration(torch.full((1, *SHAPE), float("nan")), torch.zeros(1, dtype=torch.int64), 5)
    first, second = (StructuredSparsity("kernel", rounds=0).plan(network(), data) for data in (blind, calibration(5)))
    assert "at random" in first.reason
    for one, other in zip(first, second, strict=True):
        assert isinstance(one, Constrain) and isinstance(other, Constrain)
        assert torch.equal(one.form.mask, other.form.mask)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["kernel", "intra-kernel"])
def test_a_network_without_kernels_is_refused(scale: Scale) -> None:
    of = chain((4,), fc=nn.Linear(4, 3))
    with pytest.raises(PlanError, match="no convolution with a kernel larger than 1x1"):
        StructuredSparsity(scale).plan(of, Calibration(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "weight"}, "scale is 'weight', expected one of feature-map, kernel, intra-kernel"),
        ({"ratio": 1.0}, r"ratio is 1.0, expected in \[0, 1\)"),
        ({"scale": "intra-kernel", "ratio": 1.1}, r"ratio is 1.1, expected in \[0, 1\]"),
        ({"scale": "kernel", "macs": 0.5, "size": 0.5}, "macs and size are given, expected at most one limit"),
        ({"macs": 1.0}, r"macs is 1.0, expected in \(0, 1\)"),
        ({"stride": 1}, "stride is 1, expected 2 or more"),
        ({"share": 0.0}, "share is 0.0, expected above 0"),
        ({"rounds": -1}, "rounds is -1, expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        StructuredSparsity(**options)  # type: ignore[arg-type]


def test_a_layer_that_is_not_there_is_named() -> None:
    for scale in get_args(Scale):
        with pytest.raises(RecipeError, match="structured-sparsity: no layer 'conv9'"):
            StructuredSparsity(scale, skip=("conv9",)).plan(network(), calibration())
