"""NISP. Yu et al., Pruning Networks Using Neuron Importance Score Propagation, CVPR 2018 (PR9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from camfit.errors import PlanError, RecipeError
from camfit.evaluate import predict
from camfit.forms import weight_of
from camfit.graph import ChannelGroup
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.feature_maps import feature_maps
from camfit.methods.pruning.plan_channels import Scores, plan_channels
from camfit.network import INPUT, Add, Concat, Network
from camfit.plan import Plan

# Inf-FS inverts a matrix of features × features.
_FEATURES = 8192


@dataclass(frozen=True)
class Nisp(ChannelBudget):
    """Ranks the final responses (what the last weighted layer reads) and propagates their importance to all channels.

    The ranking is Inf-FS (Roffo, Melzi, Cristani, ICCV 2015) on the calibration images. Importance goes backwards by
    s_{l−1} = |W_l|ᵀ s_l for every neuron (the paper's eq. 19): batch-norm is its |scale|, activations pass it
    on, an average takes its share, a maximum gives it to every value it looks at, a sum to all that it adds. A
    channel's score is the sum over its neurons; all layers are cut at once.

    Attributes:
        alpha: Inf-FS' weight of a feature's spread against its independence of the others, in [0, 1].
        images: calibration images to rank the final responses on, at most.
    """

    NAME: ClassVar[str] = "nisp"

    alpha: float = 0.5
    images: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"nisp: alpha is {self.alpha}, expected in [0, 1]")
        if self.images < 2:
            raise RecipeError(f"nisp: images is {self.images}, expected 2 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group.

        Raises:
            PlanError: no channels can be cut (says why), two ratios for one group, or more final responses than Inf-FS
                can rank.
            BudgetError: the limit asks for more than all groups together have.
        """

        def score(groups: tuple[ChannelGroup, ...]) -> Scores:
            last = network.calls(tuple(network.weighted())[-1])[-1]
            source = last.inputs[0]
            responses = _value(network, source, calibration.inputs[: self.images]).flatten(1).double()
            if responses.shape[1] > _FEATURES:
                raise PlanError(
                    f"nisp: layer {last.layer!r} reads {responses.shape[1]:,} final responses; expected at most "
                    f"{_FEATURES:,}"
                )
            return propagated(network, groups, source, infinite_feature_selection(responses, self.alpha))

        return plan_channels(self, network, calibration, score, "importance propagated from the final responses")


@torch.no_grad()
def infinite_feature_selection(features: Tensor, alpha: float = 0.5) -> Tensor:
    """Inf-FS: the importance of each feature over all paths through the graph of features.

    A_ij = α·max(σ_i, σ_j) + (1 − α)·(1 − |ρ_ij|), σ the standard deviation as a share of the largest, ρ Spearman's
    correlation; the score of i is Σ_j [(I − r·A)⁻¹ − I]_ij, r = 0.9 / (spectral radius of A), the sum over paths of
    every length. Roffo, Melzi, Cristani, ICCV 2015, section 3.

    Args:
        features: [samples, features], two samples at least.

    Returns:
        [features], 0 or more, float64.
    """
    values = features.double()
    spread = values.std(0, correction=0)
    spread = spread / spread.max().clamp_min(1e-30)
    ranks = torch.from_numpy(rankdata(values.numpy(), axis=0))
    ranks = ranks - ranks.mean(0)
    norms = ranks.norm(dim=0)
    # A constant feature correlates with nothing.
    unit = torch.where(norms > 0, ranks / norms.clamp_min(1e-30), 0.0)
    correlation = (unit.T @ unit).clamp(-1, 1)
    graph = alpha * torch.maximum(spread[:, None], spread[None]) + (1 - alpha) * (1 - correlation.abs())
    radius = float(torch.linalg.eigvalsh(graph).abs().max())
    if radius == 0:
        return torch.zeros(len(graph), dtype=torch.float64)
    identity = torch.eye(len(graph), dtype=torch.float64)
    ones = torch.ones(len(graph), 1, dtype=torch.float64)
    scores: Tensor = torch.linalg.solve(identity - 0.9 / radius * graph, ones) - ones
    return scores.flatten().clamp_min(0)


def propagated(network: Network, groups: Iterable[ChannelGroup], source: str, importance: Tensor) -> Scores:
    """By group, the importance of each channel: that of its feature maps' neurons, summed.

    Args:
        source: name of the value whose neurons' importance is known.
        importance: one for each element of that value, flattened.
    """
    absolute = _absolute(network)
    groups = tuple(groups)
    maps = {group.name: feature_maps(network, group) for group in groups}
    with torch.enable_grad():
        # Linear in every value: the gradient is the propagated importance, wherever it is taken.
        values = absolute.values(torch.zeros(1, *network.input_shape, dtype=torch.float64, requires_grad=True))
        total = (values[source].flatten() * importance).sum()
        names = sorted({of.value for of_group in maps.values() for of in of_group})
        found = torch.autograd.grad(total, [values[name] for name in names], allow_unused=True)
    slopes = dict(zip(names, found, strict=True))
    scores: Scores = {}
    for group in groups:
        scores[group.name] = torch.zeros(len(group), dtype=torch.float64)
        for of in maps[group.name]:
            slope = slopes[of.value]
            if slope is not None:  # a branch that does not reach the final responses has no importance
                scores[group.name] += of.of(slope)[0].sum(1)
    return scores


class _SumPool(nn.Module):
    """Sum over each window: all values that a maximum looks at get its importance."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool
        return F.avg_pool2d(x, pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, divisor_override=1)


class _AbsoluteWeight(nn.Module):
    """A convolution or linear layer with absolute weights and no bias."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.weight = weight_of(layer).abs().double()

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, self.weight)
        return F.conv2d(x, self.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


class _Scale(nn.Module):
    """Multiplies each channel."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.reshape(-1, *[1] * (x.dim() - 2))


@torch.no_grad()
def _absolute(network: Network) -> Network:
    """The network of absolute weights, in float64, whose layers are all linear."""
    layers: dict[str, nn.Module] = {}
    for path, layer in network.layers():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            twin: nn.Module = _AbsoluteWeight(layer)
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            assert layer.running_var is not None
            twin = _Scale((layer.weight / (layer.running_var + layer.eps).sqrt()).abs().double())
        elif isinstance(layer, nn.MaxPool2d):
            twin = _SumPool(layer)
        elif isinstance(layer, nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.Flatten | nn.ChannelShuffle | Add | Concat):
            twin = layer
        else:
            twin = nn.Identity()
        layers[path] = twin
    return Network(network.nodes, layers, network.input_shape).eval()


def _value(network: Network, name: str, inputs: Tensor) -> Tensor:
    """One node's value for these images, in evaluation mode."""
    if name == INPUT:
        return inputs
    at = next(number for number, node in enumerate(network.nodes) if node.name == name)
    return predict(network.clone().with_nodes(network.nodes[: at + 1], {}), inputs)


ENTRY = Entry(
    row="PR9",
    name="nisp",
    family="pruning",
    paper="Yu, Li, Chen, Lai, Morariu, Han, Gao, Lin, Davis: NISP: Pruning Networks Using Neuron Importance Score "
    "Propagation. CVPR 2018.",
    options=Nisp,
)
