from __future__ import annotations

import pytest
import torch

from camfit.cost import macs
from camfit.graph import ChannelGroup, Graph
from camfit.methods.pruning.limit import Limit
from camfit.methods.pruning.mask_selection import left, mask_costs, selected_masks, spared
from camfit.methods.pruning.soft_masks import MaskedNetwork, maskable
from camfit.network import Add, Concat, Network
from camfit.plan import DropBranch
from camfit.surgery import apply
from camfit.trace import trace
from camfit.zoo import fire_small, resnet20
from networks import Allowed, inputs, random_network, with_forms


def under_masks(network: Network) -> MaskedNetwork:
    return MaskedNetwork(network, maskable(network, Graph.of(network).groups, branches=True))


@torch.no_grad()
def test_removed_is_masked_and_masks_fold_on_random_networks() -> None:
    """With random masks, some zero, on 200 networks: the cut network with the masks folded in computes the same."""
    removed = {"channels": 0, "add": 0, "concat": 0}
    for seed in range(200):
        network = random_network(seed, Allowed(binary=seed % 4 == 0)).double()
        if seed % 3 == 0:
            network = with_forms(network, seed, ("dense", "masked", "codebook")).double()
        masked = under_masks(network)
        if not len(masked):
            continue
        generator = torch.Generator().manual_seed(seed)
        masks = torch.rand(len(masked), generator=generator, dtype=torch.float64) + 0.5
        kept = (torch.rand(len(masked), generator=generator) < 0.6) | spared(network, masked, masks)
        masks = torch.where(kept, masks, 0.0)
        plan = masked.cut(kept)
        x = inputs(network, seed, count=3)
        done = apply(masked.folded(masks), plan)
        torch.testing.assert_close(done(x), masked.outputs(x, masks), rtol=1e-10, atol=1e-12)
        for edit in plan:
            if isinstance(edit, DropBranch):
                path = next(node.layer for node in network.nodes if node.name == edit.join)
                removed["add" if isinstance(network.layer(path), Add) else "concat"] += 1
            else:
                removed["channels"] += 1
    assert removed["channels"] > 150 and removed["add"] > 25 and removed["concat"] > 25


@torch.no_grad()
def test_masks_of_one_change_nothing() -> None:
    for seed in range(40):
        network = random_network(seed).double()
        masked = under_masks(network)
        x = inputs(network, seed)
        torch.testing.assert_close(masked.outputs(x, torch.ones(len(masked)).double()), network(x), rtol=0, atol=0)


def test_every_block_of_a_residual_net_and_every_branch_of_a_fire_net_has_a_mask() -> None:
    torch.manual_seed(0)
    residual = trace(resnet20.build((3, 8, 8), 4, depth=14, width=4), (3, 8, 8))
    fire = trace(fire_small.build((3, 8, 8), 4, width=8), (3, 8, 8))
    for network, kind, each in ((residual, Add, 1), (fire, Concat, 2)):
        joins = [node.name for node in network.nodes if isinstance(network.layer(node.layer), kind)]
        units = under_masks(network).units
        found = [unit.removal.join for unit in units if isinstance(unit.removal, DropBranch)]
        assert sorted(found) == sorted(joins * each)
        assert any(isinstance(unit.removal, ChannelGroup) for unit in units)


def test_costs_are_what_a_removal_saves() -> None:
    network = trace(resnet20.build((3, 8, 8), 4, depth=8, width=4), (3, 8, 8))
    masked = under_masks(network)
    costs = mask_costs(network, masked)
    everything = torch.ones(len(masked), dtype=torch.bool)
    whole = sum(macs(network).values())
    for place in masked.starts():
        kept = everything.clone()
        kept[place] = False
        assert abs(float(costs[place]) - (1 - sum(macs(left(network, masked, kept)).values()) / whole)) < 1e-6


@pytest.mark.parametrize("name", ["macs", "weights", "size"])
def test_the_smallest_go_until_the_limit_is_met_and_zeros_always(name: str) -> None:
    network = trace(resnet20.build((3, 8, 8), 4, depth=8, width=4), (3, 8, 8))
    masked = under_masks(network)
    limit = Limit.of(network, name, 0.4)
    assert limit.most == pytest.approx(0.6 * limit.cost(network))
    masks = torch.rand(len(masked), generator=torch.Generator().manual_seed(0)) + 0.1
    kept = selected_masks(network, masked, masks, limit)
    assert limit.met(left(network, masked, kept))
    stays = spared(network, masked, masks)
    largest_gone = int(torch.where(kept, -torch.inf, masks).argmax())
    assert bool((masks[kept & ~stays] > masks[largest_gone]).all())
    more = kept.clone()
    more[largest_gone] = True
    assert not limit.met(left(network, masked, more))
    masks[masked.starts()[0]] = 0.0
    assert int((~selected_masks(network, masked, masks, None)).sum()) == 1
