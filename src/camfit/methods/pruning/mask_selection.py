"""From trained masks to what is removed: the zeros and, where a limit asks for more, the smallest after them."""

from __future__ import annotations

import bisect

import torch
from torch import Tensor

from camfit.cost import mac_cost, macs
from camfit.errors import BudgetError
from camfit.graph import ChannelGroup, Graph
from camfit.methods.pruning.limit import Limit
from camfit.methods.pruning.soft_masks import MaskedNetwork
from camfit.network import Network
from camfit.plan import DropBranch
from camfit.surgery import apply
from camfit.surgery.branches import without_branch


def mask_costs(network: Network, masked: MaskedNetwork) -> Tensor:
    """Multiply-accumulates that go with each mask alone, as a share of the network's [masks]."""
    whole = sum(macs(network).values())
    cost = mac_cost(network, Graph.of(network))
    saved: list[float] = []
    for unit in masked.units:
        if isinstance(unit.removal, ChannelGroup):
            saved += [whole - cost({unit.removal.name: unit.size - 1})] * unit.size
        else:
            bare = without_branch(network, unit.removal.join, unit.removal.branch)
            saved.append(float(whole - sum(macs(bare).values())))
    return torch.tensor(saved) / max(1, whole)


def left(network: Network, masked: MaskedNetwork, kept: Tensor) -> Network:
    """The network when only what is ``kept`` [masks] stays."""
    return apply(network, masked.cut(kept))


def spared(network: Network, masked: MaskedNetwork, masks: Tensor) -> Tensor:
    """True where a mask's channel or branch stays whatever the mask is: the largest of a group, and that of a
    concatenation all of whose inputs have masks [masks]."""
    stays = torch.zeros(len(masks), dtype=torch.bool)
    inputs = {node.name: len(node.inputs) for node in network.nodes}
    of_join: dict[str, list[int]] = {}
    for unit, start in zip(masked.units, masked.starts(), strict=True):
        if isinstance(unit.removal, DropBranch):
            of_join.setdefault(unit.removal.join, []).append(start)
        else:
            stays[start + int(masks[start : start + unit.size].abs().argmax())] = True
    for join, places in of_join.items():
        if len(places) == inputs[join]:
            stays[max(places, key=lambda place: float(masks[place].abs()))] = True
    return stays


def selected_masks(network: Network, masked: MaskedNetwork, masks: Tensor, limit: Limit | None) -> Tensor:
    """Which masks stay [masks]: all that are not zero or, under a limit, the largest that meet it.

    Raises:
        BudgetError: what is masked cannot come to the limit.
    """
    stays = spared(network, masked, masks)
    order = torch.where(stays, torch.inf, masks.abs()).argsort(stable=True)

    def without(count: int) -> Tensor:
        kept = torch.ones(len(masks), dtype=torch.bool)
        kept[order[:count]] = False
        return kept

    zeros, most = int(((masks == 0) & ~stays).sum()), int((~stays).sum())
    if limit is None:
        return without(zeros)
    if (least := limit.cost(left(network, masked, without(most)))) > limit.most:
        raise BudgetError(
            f"what is masked cannot go below {least:,.6g} {limit.unit}, expected at most {limit.most:,.6g}"
        )
    counts = range(zeros, most)
    within = bisect.bisect_left(counts, True, key=lambda count: limit.met(left(network, masked, without(count))))
    return without(zeros + within)
