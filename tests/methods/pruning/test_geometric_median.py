from __future__ import annotations

import torch
from torch import nn

from camfit.graph import Graph
from camfit.methods.pruning.geometric_median import GeometricMedian, distances
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.network import INPUT, Add, Network, Node
from methods.chain import CALIBRATION, chain, conv, kept


def test_a_filters_score_is_the_sum_of_its_distances_to_all_others() -> None:
    network = chain((2, 1, 1), a=conv([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]), head=conv([[1.0] * 3]))
    assert distances(network, Graph.of(network).groups)["a"].tolist() == [15.0, 10.0, 15.0]
    assert kept(GeometricMedian(ratio=0.34).plan(network, CALIBRATION)) == {"a": (0, 2)}


def test_planted_duplicates_go_where_norms_would_take_the_small_filters() -> None:
    """The claim of PR11: four near-copies of one filter among filters that are smaller but unlike any other."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(27, 27, generator=generator)).Q
    alone = 0.9 * directions[:5]
    copies = directions[5] + 1e-3 * torch.randn(4, 27, generator=generator)
    layer = nn.Conv2d(3, 9, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([alone[:3], copies, alone[3:]]).reshape(9, 3, 3, 3))
    network = chain((3, 5, 5), a=layer, head=nn.Conv2d(9, 2, 1))
    gone = set(range(9)) - set(kept(GeometricMedian(ratio=0.34).plan(network, CALIBRATION))["a"])
    assert len(gone) == 3 and gone <= {3, 4, 5, 6}
    small = set(range(9)) - set(kept(L1Filters(ratio=0.34).plan(network, CALIBRATION))["a"])
    assert small <= {0, 1, 2, 7, 8}


def test_a_group_that_several_layers_produce_sums_their_distances() -> None:
    layers: dict[str, nn.Module] = {
        "stem": conv([[1.0], [3.0]]), "branch": conv([[4.0, 4.0], [1.0, 0.0]]), "add": Add(), "head": conv([[1.0, 1.0]])
    }  # fmt: skip
    nodes = (Node("stem", "stem", (INPUT,)), Node("branch", "branch", ("stem",)),
             Node("add", "add", ("stem", "branch")), Node("head", "head", ("add",)))  # fmt: skip
    network = Network(nodes, layers, (1, 1, 1)).eval()
    assert distances(network, Graph.of(network).groups)["stem"].tolist() == [7.0, 7.0]  # 2 + ‖(3, 4)‖


def test_near_duplicates_do_not_drown_in_rounding() -> None:
    row = [1000.0, 1000.0, 1000.0]
    network = chain((3, 1, 1), a=conv([row, [1000.0, 1000.0, 1000.25], row]), head=conv([[1.0] * 3]))
    assert distances(network, Graph.of(network).groups)["a"].tolist() == [0.25, 0.5, 0.25]
