"""HashedNets. Chen et al., Compressing Neural Networks with the Hashing Trick, ICML 2015 (HS1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from camfit.errors import RecipeError
from camfit.forms import Hashed, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.selection import weighted_layers
from camfit.network import Network
from camfit.plan import Constrain, Edit, Plan


@dataclass(frozen=True)
class HashedNets:
    """Every weight of a layer is drawn, by a hash of its position, from K real weights: V_ij = ξ(i,j)·w_h(i,j).

    The K weights train by gradients summed over their positions; the packed file stores them and the layer's seed. The
    paper trains hashed networks from scratch; together with soft targets this is its HashNet_DK.

    Attributes:
        compression: weights of the layer per stored weight, at least 1; 8 stores an eighth.
        compressions: compression by layer.
        start: ``project`` starts from the trained weights (each bucket the signed mean of its weights); ``random`` from
            normal values of He's variance for the layer's fan-in.
        skip: layers to leave alone.
    """

    compression: float = 8.0
    compressions: dict[str, float] = field(default_factory=dict)
    start: Literal["project", "random"] = "random"
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in {
            "compression": self.compression,
            **{f"compressions.{k}": v for k, v in self.compressions.items()},
        }.items():
            if not value >= 1:
                raise RecipeError(f"hashednets: {name} is {value}, expected 1 or more")
        if self.start not in ("project", "random"):
            raise RecipeError(f"hashednets: start is {self.start!r}, expected 'project' or 'random'")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """A hashed form for every weighted layer; of the calibration only the seed is used."""
        layers = weighted_layers(network, "hashednets", self.compressions, self.skip)
        edits: list[Edit] = []
        notes: dict[str, dict[str, float | int | str]] = {}
        for number, (path, layer) in enumerate(layers.items()):
            if path in self.skip:
                continue
            weight = weight_of(layer).detach()
            buckets = max(1, round(weight.numel() / self.compressions.get(path, self.compression)))
            # Odd steps: by two hashes the form also uses seed + 1, for the signs.
            seed = (calibration.seed * 0x9E3779B1 + 2 * number + 1) & 0xFFFFFFFF
            form = Hashed(tuple(weight.shape), buckets, seed)
            if self.start == "project":
                stored = form.project(weight)
            else:
                generator = torch.Generator().manual_seed(seed)
                deviation = (2.0 / weight[0].numel()) ** 0.5
                stored = torch.randn(buckets, generator=generator) * deviation
            edits.append(Constrain(path, form, stored))
            notes[path] = {"weights": weight.numel(), "buckets": buckets}
        return Plan("hashednets", tuple(edits), f"hash weights into 1/{self.compression:g} as many buckets", notes)


ENTRY = Entry(
    row="HS1",
    name="hashednets",
    family="hashing",
    paper="Chen, Wilson, Tyree, Weinberger, Chen: Compressing Neural Networks with the Hashing Trick. ICML 2015.",
    options=HashedNets,
)
