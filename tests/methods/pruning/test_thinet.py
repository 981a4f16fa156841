from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.graph import Graph
from camfit.method import Calibration
from camfit.methods.pruning.reader_samples import readers
from camfit.methods.pruning.reconstruction import output_error
from camfit.methods.pruning.thinet import ThiNet, removals, sampled_with_target, scales
from camfit.network import Slice
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import digits_cnn
from methods.chain import chain, conv, kept


def images(count: int, *shape: int) -> Calibration:
    generator = torch.Generator().manual_seed(0)
    return Calibration(torch.randn(count, *shape, generator=generator), torch.arange(count) % 3, seed=5)


def test_channels_go_whose_sum_stays_least() -> None:
    """Channels 0 and 1 cancel: alone each adds 1 to the error, together they add nothing; 3 adds least of all."""
    parts = torch.tensor([[1.0, -1.0, 0.0, 0.5], [0.0, 0.0, 2.0, 0.0]]).double()
    order, errors = removals(parts)
    # 3 goes first (0.25). With it gone, 1 leaves (0.5 − 1)² = 0.25, then 0 brings it back to 0.25, and 2 adds 4.
    assert order.tolist() == [3, 1, 0, 2]
    assert errors.tolist() == pytest.approx([0.25, 0.25, 0.25, 4.25])


def test_a_channel_is_worth_what_the_next_layers_weights_make_of_it() -> None:
    """a's first map is three times its second, but b takes a tenth of it: 0.3 against 1."""
    network = chain((1, 3, 3), a=conv([[3.0], [1.0]]), b=conv([[0.1, 1.0]]), head=conv([[1.0]]))
    assert kept(ThiNet(ratio=0.5, skip=("b",)).plan(network, images(8, 1, 3, 3))) == {"a": (1,)}


def test_the_rest_is_scaled_by_least_squares() -> None:
    parts = torch.tensor([[1.0, 9.0, 0.0], [0.0, 9.0, 1.0], [1.0, 9.0, 1.0]]).double()
    output = torch.tensor([2.0, 3.0, 5.0]).double()
    assert scales((parts, output), torch.tensor([0, 2])).tolist() == pytest.approx([2.0, 3.0], abs=1e-5)


def test_the_factors_go_into_the_next_layers_weights() -> None:
    """b reads a's two equal maps: one goes, and what is left is taken twice."""
    network = chain((1, 3, 3), a=conv([[1.0], [1.0]]), b=conv([[0.5, 0.5], [-2.0, -2.0]]), head=conv([[1.0, 1.0]]))
    data = images(8, 1, 3, 3)
    plan = ThiNet(ratio=0.5, skip=("b",)).plan(network, data)
    assert len(kept(plan)["a"]) == 1
    cut = apply(network, plan)
    with torch.no_grad():
        torch.testing.assert_close(cut(data.inputs), network(data.inputs), rtol=1e-4, atol=1e-4)
    bare = apply(network, ThiNet(ratio=0.5, skip=("b",), scale=False).plan(network, data))
    with torch.no_grad():
        torch.testing.assert_close(2 * bare(data.inputs), network(data.inputs), rtol=1e-4, atol=1e-4)


def test_samples_add_up_to_what_the_layer_gives() -> None:
    torch.manual_seed(0)
    network = chain((2, 6, 6), a=nn.Conv2d(2, 5, 3), relu=nn.ReLU(), b=nn.Conv2d(5, 4, 3, stride=2, padding=1))
    (group,) = Graph.of(network).groups
    (reader,) = readers(network, network, group, images(6, 2, 6, 6), 3, {})
    assert reader.inputs.shape == (18, 5, 9)
    added = torch.einsum("sct,oct->so", reader.inputs, reader.weight)
    torch.testing.assert_close(added, reader.target, rtol=1e-4, atol=1e-5)
    parts, output = sampled_with_target(reader, torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts.sum(1), output, rtol=1e-4, atol=1e-5)


def test_the_error_falls_by_scaling_and_is_below_that_of_random_channels() -> None:
    torch.manual_seed(3)
    network = trace(digits_cnn.build((1, 8, 8), 10), (1, 8, 8))
    data = images(64, 1, 8, 8)
    group = Graph.of(network).group("conv2")
    plan = ThiNet(ratio=0.0, ratios={"conv2": 0.5}).plan(network, data)
    found = readers(network, network, group, data, 10, {})
    keep = torch.tensor(kept(plan)["conv2"])
    generator = torch.Generator().manual_seed(1)

    def scaled(channels: Tensor) -> float:
        return output_error(
            found,
            {
                r.layer: r.weight[:, channels] * scales(sampled_with_target(r, generator), channels)[None, :, None]
                for r in found
            },
            channels,
        )

    assert scaled(keep) < output_error(found, {r.layer: r.weight[:, keep] for r in found}, keep)
    others = [torch.randperm(len(group), generator=generator)[: len(keep)].sort().values for _ in range(20)]
    assert scaled(keep) < min(scaled(other) for other in others)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="locations is 0, expected 1 or more"):
        ThiNet(locations=0)


def test_channels_that_nobody_reads_go_first() -> None:
    torch.manual_seed(0)
    network = chain((1, 3, 3), conv=nn.Conv2d(1, 4, 1), part=Slice(0, 2), head=nn.Conv2d(2, 2, 1))
    unread, read = Graph.of(network).groups
    assert (unread.consumers, [slot.layer for slot in read.consumers]) == ((), ["head"])
    calibration = Calibration(torch.randn(8, 1, 3, 3), torch.zeros(8, dtype=torch.int64), 0)
    plan = ThiNet(channels=1, allocation="global").plan(network, calibration)
    assert len(kept(plan)[unread.name]) == 1 and kept(plan).get(read.name, (0, 1)) == (0, 1)
