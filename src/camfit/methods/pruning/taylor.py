"""Taylor expansion. Molchanov et al., Pruning CNNs for Resource Efficient Inference, ICLR 2017 (PR5).

With the criteria that the paper compares it to: minimum weight, activations, information, the oracle, chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.forms import weight_of
from camfit.graph import ChannelGroup
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget
from camfit.methods.pruning.feature_maps import FeatureMap, feature_maps, observed
from camfit.methods.pruning.information import information_gain
from camfit.methods.pruning.l1_filters import places
from camfit.methods.pruning.oracle import oracle
from camfit.methods.pruning.plan_channels import Scores, plan_channels
from camfit.network import Network
from camfit.plan import Plan

Criterion = Literal[
    "taylor", "weight", "activation-mean", "activation-std", "apoz", "mutual-information", "oracle", "random"
]

Measure = Callable[[Tensor, Tensor], Tensor]
"""(maps [N, channels, pixels], the loss's gradients there) -> [N, channels]."""

# Images at a time, fewer where the largest value has more than so many numbers: all values and gradients are held.
_BATCH, _NUMBERS = 64, 1 << 23


@dataclass(frozen=True)
class Taylor(ChannelBudget):
    """Removes the feature maps that a criterion finds least important, after the activation behind their layer.

    The paper removes one map at a time and trains a few updates in between: a recipe of the step ``repeat`` with
    ``channels = 1`` here and a training step with ``updates``.

    Attributes:
        criterion: ``taylor``: size of the map's mean ∂C/∂z·z, averaged over the images (eq. 7); ``weight``: mean of the
            filter's squared weights; ``activation-mean``, ``activation-std`` of the map; ``apoz``: share of the
            map that is not zero (Hu et al. 2016); ``mutual-information`` between the map's mean and the label;
            ``oracle``: change of the loss without the map, one evaluation for each; ``random``: the naive twin.
        normalise: divide the scores of each group by their l2 norm before groups are compared (eq. 8).
        images: calibration images to look at, at most.
    """

    NAME: ClassVar[str] = "taylor"

    criterion: Criterion = "taylor"
    normalise: bool = True
    images: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.criterion not in get_args(Criterion):
            expected = ", ".join(get_args(Criterion))
            raise RecipeError(f"taylor: criterion is {self.criterion!r}, expected one of {expected}")
        if self.images < 1:
            raise RecipeError(f"taylor: images is {self.images}, expected 1 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group.

        Raises:
            PlanError: no channels can be cut (says why), two ratios for one group, or scores that are not finite.
            BudgetError: the limit asks for more than all groups together have.
        """

        def score(groups: tuple[ChannelGroup, ...]) -> Scores:
            return scores(self.criterion, network, groups, calibration, self.images)

        return plan_channels(self, network, calibration, score, f"criterion {self.criterion}", not self.normalise)


def scores(
    criterion: Criterion, network: Network, groups: Iterable[ChannelGroup], calibration: Calibration, images: int
) -> Scores:
    """By group, the criterion of each of its channels; that of several layers' maps is the sum over the layers."""
    groups = tuple(groups)
    seen = calibration.first(images)
    if criterion == "weight":
        return {group.name: _squared_weights(network, group) for group in groups}
    if criterion == "oracle":
        return {name: changes.abs() for name, changes in oracle(network, groups, seen).items()}
    if criterion == "random":
        generator = torch.Generator().manual_seed(calibration.seed)
        return {group.name: torch.rand(len(group), dtype=torch.float64, generator=generator) for group in groups}
    maps = {group.name: feature_maps(network, group) for group in groups}
    found = {group.name: torch.zeros(len(group), dtype=torch.float64) for group in groups}
    if criterion == "mutual-information":
        means = _gathered(network, maps, seen, lambda z, _: z.mean(2))
        for name, of_maps in means.items():
            for values in of_maps:
                found[name] += information_gain(values, seen.targets)
        return found
    measures: dict[str, Measure] = {
        "taylor": lambda z, gradient: (z * gradient).mean(2).abs(),
        "activation-mean": lambda z, _: z.mean(2),
        "activation-std": lambda z, _: z.std(2, correction=0),
        "apoz": lambda z, _: (z != 0).double().mean(2),
    }
    for name, of_maps in _gathered(network, maps, seen, measures[criterion], criterion == "taylor").items():
        for values in of_maps:
            found[name] += values.mean(0)
    return found


def _gathered(
    network: Network,
    maps: dict[str, tuple[FeatureMap, ...]],
    calibration: Calibration,
    measure: Measure,
    gradients: bool = False,
) -> dict[str, list[Tensor]]:
    """By group, for each of its feature maps, the measure of every image [N, channels]."""
    gathered: dict[str, list[list[Tensor]]] = {name: [[] for _ in of_group] for name, of_group in maps.items()}
    largest = max(math.prod(shape) for shape in network.shapes().values())
    batch = max(1, min(_BATCH, _NUMBERS // largest))
    with observed(network) as copy:
        for inputs, targets in zip(calibration.inputs.split(batch), calibration.targets.split(batch), strict=True):
            values = copy.values(inputs.clone().requires_grad_(gradients))
            needed = {of.value for of_group in maps.values() for of in of_group}
            slopes: dict[str, Tensor] = {}
            if gradients:
                # Of each image's own loss, whatever the batch: the mean's gradients times the images in it.
                loss = calibration.loss(values[copy.nodes[-1].name], targets) * len(inputs)
                names = sorted(needed)
                found = torch.autograd.grad(loss, [values[name] for name in names], allow_unused=True)
                slopes = {n: torch.zeros_like(values[n]) if g is None else g for n, g in zip(names, found, strict=True)}
            for name, of_group in maps.items():
                for number, of in enumerate(of_group):
                    z = of.of(values[of.value].detach()).double()
                    slope = of.of(slopes[of.value]).double() if gradients else z
                    gathered[name][number].append(measure(z, slope))
    return {name: [torch.cat(parts) for parts in of_group] for name, of_group in gathered.items()}


@torch.no_grad()
def _squared_weights(network: Network, group: ChannelGroup) -> Tensor:
    """Mean squared weight of each channel's filter (minimum weight, section 2.2)."""
    total = torch.zeros(len(group), dtype=torch.float64)
    for slot in group.producers:
        layer = network.layer(slot.layer)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += weight_of(layer).detach().double().flatten(1).square().mean(1)[places(slot)].sum(1)
    return total


ENTRY = Entry(
    row="PR5",
    name="taylor",
    family="pruning",
    paper="Molchanov, Tyree, Karras, Aila, Kautz: Pruning Convolutional Neural Networks for Resource Efficient "
    "Inference. ICLR 2017.",
    options=Taylor,
)
