"""Magnitude pruning with retraining. Han, Pool, Tran, Dally, Learning both Weights and Connections, NIPS 2015 (PR3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.pruning.share_weights import kept_of, share_weights, tally
from camfit.methods.pruning.weight_budget import Allocation, Curves, Masks, WeightBudget, shared_masks
from camfit.methods.selection import weighted_layers
from camfit.network import Network
from camfit.plan import Constrain, Edit, Plan, Replace


@dataclass(frozen=True)
class Magnitude(WeightBudget):
    """Prunes each layer's weights below quality·σ, σ the standard deviation of its present non-zero weights.

    One plan is one round; the paper's iteration is a recipe of rounds with training (with L2) between them. Dropout in
    front of a pruned layer shrinks with its capacity: D_r = D_o·√(C_r/C_o), C the layer's connections (the paper's
    eq. 2).

    Attributes:
        quality: the threshold in standard deviations, for layers that the two dictionaries do not name.
        qualities: quality by layer.
        sparsity: fraction of the weights of all layers that ``keep`` does not name to be zero afterwards, in [0, 1).
            This, ``macs``, ``size`` and ``latency`` take the place of quality and qualities.
        reduce_dropout: apply the paper's eq. 2.
    """

    NAME: ClassVar[str] = "magnitude"

    quality: float = 0.6
    qualities: dict[str, float] = field(default_factory=dict)
    allocation: Allocation = "uniform"
    reduce_dropout: bool = True

    def __post_init__(self) -> None:
        for name, value in {
            "quality": self.quality,
            **{f"qualities.{k}": v for k, v in self.qualities.items()},
        }.items():
            if not value >= 0:
                raise RecipeError(f"magnitude: {name} is {value}, expected 0 or more")
        super().__post_init__()
        if (given := self._shared()) and self.qualities:
            raise RecipeError(f"magnitude: {given[0]} is {given[1]} and qualities are given, expected one of them")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Masks for every weighted layer; calibration is looked at where the allocation goes by loss.

        Raises:
            BudgetError: a limit asks for more than a sparsity of 99 % gives.
        """
        layers = weighted_layers(network, "magnitude", self.keep, self.qualities, self.skip)
        weights = {path: weight_of(layer).detach() for path, layer in layers.items() if path not in self.skip}
        alive = {path: weight != 0 for path, weight in weights.items()}
        masks, curves = self._masks(network, calibration, weights, alive)
        edits: list[Edit] = [Constrain(path, Masked(mask)) for path, mask in masks.items()]
        notes = tally(alive, masks)
        if self.reduce_dropout:
            edits.extend(_dropout_edits(network, {path: _density(note) for path, note in notes.items()}))
        return Plan("magnitude", tuple(edits), kept_of(notes), notes, curves)

    def _shared(self) -> tuple[str, float] | None:
        """What is given of all that takes the place of quality."""
        return self.limit() or (None if self.sparsity is None else ("sparsity", self.sparsity))

    def _masks(
        self, network: Network, calibration: Calibration, weights: dict[str, Tensor], alive: dict[str, Tensor]
    ) -> tuple[Masks, Curves]:
        if self._shared():
            sizes = {path: weight.abs() for path, weight in weights.items()}
            return shared_masks(self, network, calibration, sizes, alive)
        counted = {path: weight.abs() for path, weight in weights.items() if path in self.keep}
        masks = share_weights(counted, alive, self.keep, 0.0, "uniform")
        return {path: masks[path] if path in masks else self._above(path, weights[path]) for path in weights}, {}

    def _above(self, path: str, weight: Tensor) -> Tensor:
        """Mask of the weights of at least quality·σ."""
        alive = weight != 0
        if not bool(alive.any()):
            return alive
        sigma = float(weight[alive].std(correction=0))
        return alive & (weight.abs() >= self.qualities.get(path, self.quality) * sigma)


def _density(note: dict[str, float | int | str]) -> float:
    """Fraction of the weights present before that stay."""
    return int(note["kept"]) / max(1, int(note["before"]))


def _dropout_edits(network: Network, densities: dict[str, float]) -> list[Edit]:
    """Weaker dropout in front of each pruned layer that reads a dropout layer's value."""
    edits: list[Edit] = []
    for path, layer in network.layers():
        if not isinstance(layer, nn.Dropout) or layer.p == 0:
            continue
        readers = [reader.layer for call in network.calls(path) for reader in network.consumers(call.name)]
        pruned = [densities[reader] for reader in readers if reader in densities]
        if pruned:
            edits.append(Replace(path, nn.Dropout(layer.p * math.sqrt(max(pruned)))))
    return edits


def density(network: Network) -> float:
    """Fraction of the convolutions' and linear layers' weights that are not zero."""
    weights = [weight_of(layer).detach() for layer in network.weighted().values()]
    return sum(int((w != 0).sum()) for w in weights) / max(1, sum(w.numel() for w in weights))


def masked_layers(network: Network) -> tuple[str, ...]:
    """Paths of the layers that live under a mask."""
    return tuple(path for path, layer in network.weighted().items() if isinstance(form_of(layer), Masked))


ENTRY = Entry(
    row="PR3",
    name="magnitude",
    family="pruning",
    paper="Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks. NIPS 2015.",
    options=Magnitude,
)
