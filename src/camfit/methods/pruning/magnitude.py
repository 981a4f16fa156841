"""Magnitude pruning with retraining. Han, Pool, Tran, Dally, Learning both Weights and Connections, NIPS 2015 (PR3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camfit.errors import RecipeError
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.selection import weighted_layers
from camfit.network import Network
from camfit.plan import Constrain, Edit, Plan, Replace


@dataclass(frozen=True)
class Magnitude:
    """Prunes each layer's weights below quality·σ, σ the standard deviation of its present non-zero weights.

    One plan is one round; the paper's iteration is a recipe of rounds with training (with L2) between them. Dropout in
    front
    of a pruned layer shrinks with its capacity: D_r = D_o·√(C_r/C_o), C the layer's connections (the paper's eq. 2).

    Attributes:
        quality: the threshold in standard deviations, for layers that the two dictionaries do not name.
        qualities: quality by layer.
        keep: fraction of the layer's weights (of all, pruned ones included) to keep, by layer; takes the place of
        quality.
        skip: layers to leave alone.
        reduce_dropout: apply the paper's eq. 2.
    """

    quality: float = 0.6
    qualities: dict[str, float] = field(default_factory=dict)
    keep: dict[str, float] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    reduce_dropout: bool = True

    def __post_init__(self) -> None:
        for name, value in {
            "quality": self.quality,
            **{f"qualities.{k}": v for k, v in self.qualities.items()},
        }.items():
            if not value >= 0:
                raise RecipeError(f"magnitude: {name} is {value}, expected 0 or more")
        for layer, share in self.keep.items():
            if not 0 < share <= 1:
                raise RecipeError(f"magnitude: keep.{layer} is {share}, expected above 0 and at most 1")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Masks for every weighted layer; calibration is not looked at."""
        layers = weighted_layers(network, "magnitude", self.keep, self.qualities, self.skip)
        edits: list[Edit] = []
        notes: dict[str, dict[str, float | int | str]] = {}
        densities: dict[str, float] = {}
        for path, layer in layers.items():
            if path in self.skip:
                continue
            weight = weight_of(layer).detach()
            mask = self._mask(path, weight)
            before, after = int((weight != 0).sum()), int(mask.sum())
            edits.append(Constrain(path, Masked(mask)))
            densities[path] = after / max(1, before)
            notes[path] = {"weights": weight.numel(), "before": before, "kept": after}
        if self.reduce_dropout:
            edits.extend(_dropout_edits(network, densities))
        total, kept = (sum(int(note[key]) for note in notes.values()) for key in ("weights", "kept"))
        return Plan(
            "magnitude", tuple(edits), f"keep {kept:,} of {total:,} weights ({100 * kept / max(1, total):.1f} %)", notes
        )

    def _mask(self, path: str, weight: Tensor) -> Tensor:
        size = weight.abs()
        alive = weight != 0
        if path in self.keep:
            count = max(1, round(self.keep[path] * weight.numel()))
            order = torch.argsort(size.flatten(), descending=True, stable=True)
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[order[:count]] = True
            return mask.reshape(weight.shape) & alive
        if not bool(alive.any()):
            return alive
        sigma = float(weight[alive].std(correction=0))
        return alive & (size >= self.qualities.get(path, self.quality) * sigma)


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
