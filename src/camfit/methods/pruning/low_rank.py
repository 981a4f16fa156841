"""Low-rank and tensor factorisation (PR13).

Lebedev, Ganin, Rakhuba, Oseledets, Lempitsky, ICLR 2015 (CP); Kim, Park, Yoo, Choi, Yang, Shin, ICLR 2016 (Tucker);
Jaderberg, Vedaldi, Zisserman, BMVC 2014 (spatial); Denton, Zaremba, Bruna, LeCun, Fergus, NIPS 2014 (SVD).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from camfit.cost import macs, weights
from camfit.errors import BudgetError, RecipeError
from camfit.measured_cost import latency, size
from camfit.method import Calibration, Entry
from camfit.methods.pruning.factorisation.cp import Cp
from camfit.methods.pruning.factorisation.decomposition import (
    Costs,
    Decomposition,
    Factors,
    Pixels,
    Ranks,
    whole_costs,
)
from camfit.methods.pruning.factorisation.reconstruction import refit
from camfit.methods.pruning.factorisation.sharing import Rung, share
from camfit.methods.pruning.factorisation.spatial import Spatial
from camfit.methods.pruning.factorisation.svd import Svd
from camfit.methods.pruning.factorisation.tucker import Tucker
from camfit.methods.selection import weighted_layers
from camfit.network import Network
from camfit.plan import Factorise, Plan
from camfit.surgery import apply

_LIMITS = ("macs", "weights", "size", "latency")
_SHARES = 64  # steps in which the share that a measured limit takes is sought


@dataclass(frozen=True)
class LowRank:
    """Replaces layers by chains of cheaper ones that compute nearly the same.

    Linear layers and 1x1 convolutions become two by singular value decomposition, other convolutions what
    ``convolution`` says. A layer is left whole where its factors would need more multiply-accumulates or more weights,
    and where it has several groups (it has few weights to factorise); the notes say so.

    A chain's gradients are products over its factors: train it with ``clip = 1``, or at a lower rate than the layer
    bears. Chains of four (CP), and refitted ones, have diverged at a rate at which the whole network learned.

    Attributes:
        convolution: ``tucker``: 1x1, a core of the kernel's size, 1x1. ``cp``: 1x1, a column and a row for each channel
            apart, 1x1. ``spatial``: a column, then a row.
        rank: where ranks come from. ``energy``: the least that keep the fraction ``energy`` of the weight's squared
            norm. ``vbmf``: variational Bayesian matrix factorisation, which takes the weight for a low-rank matrix in
            noise; needs no parameter. ``budget``: the product of all layers' energies is the largest that the limit
            allows.
        energy: fraction kept, in (0, 1].
        macs: with ``budget``: fraction of the network's multiply-accumulates to remove, in (0, 1).
        weights: with ``budget``: fraction of the network's weights to remove, in (0, 1).
        size: with ``budget``: fraction of the bytes of its packed file to remove, in (0, 1): the ranks of the least
            ``weights`` that does it.
        latency: with ``budget``: fraction of its milliseconds on the engine to remove, in (0, 1) (one thread, this
            machine): the ranks of the least ``macs`` that does it. A measurement: two plans may differ.
        ranks: ranks by layer, ahead of ``rank``: one number, for Tucker two (channels before and behind the core).
        skip: layers to leave whole.
        reconstruct: refit each chain's last factor to the layer's outputs on calibration images, in the order of
            execution, reading what the factorised network computes.
    """

    convolution: Literal["tucker", "cp", "spatial"] = "tucker"
    rank: Literal["energy", "vbmf", "budget"] = "energy"
    energy: float = 0.8
    macs: float | None = None
    weights: float | None = None
    size: float | None = None
    latency: float | None = None
    ranks: dict[str, tuple[int, ...]] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    reconstruct: bool = False

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, tuple[str, ...]]] = {
            "convolution": (self.convolution, ("tucker", "cp", "spatial")),
            "rank": (self.rank, ("energy", "vbmf", "budget")),
        }
        for name, (word, expected) in choices.items():
            if word not in expected:
                raise RecipeError(f"low-rank: {name} is {word!r}, expected one of {', '.join(expected)}")
        if not 0 < self.energy <= 1:
            raise RecipeError(f"low-rank: energy is {self.energy}, expected above 0 and at most 1")
        given = {name: getattr(self, name) for name in _LIMITS if getattr(self, name) is not None}
        for name, value in given.items():
            if not 0 < value < 1:
                raise RecipeError(f"low-rank: {name} is {value}, expected in (0, 1)")
        if len(given) != (1 if self.rank == "budget" else 0):
            limits = ", ".join(_LIMITS)
            wanted = f"exactly one of {limits}" if self.rank == "budget" else f"none of {limits}"
            raise RecipeError(
                f"low-rank: rank = {self.rank!r} with {' and '.join(given) or 'no budget'}, expected {wanted}"
            )

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Chains of factors; calibration's inputs are looked at where ``reconstruct`` is set.

        Raises:
            RecipeError: an option names a layer that is not there, or ranks that it cannot have.
            BudgetError: the budget asks for more than the lowest ranks save.
        """
        layers = weighted_layers(network, "low-rank", self.ranks, self.skip)
        shapes = network.shapes()
        notes: dict[str, dict[str, float | int | str]] = {}
        subjects: dict[str, _Subject] = {}
        for path, layer in layers.items():
            if path in self.skip:
                continue
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                if path in self.ranks:
                    raise RecipeError(f"low-rank: ranks.{path}: the layer has {layer.groups} groups, expected one")
                notes[path] = {"left whole": f"it has {layer.groups} groups"}
                continue
            pixels = Pixels.of(network, path, shapes)
            decomposition = self._decomposition(layer, calibration.seed)
            subjects[path] = _Subject(decomposition, pixels, whole_costs(layer, pixels))
        chains: dict[str, Factors] = {}
        spared = 0
        chosen = self._ranks(network, subjects)
        for path, subject in subjects.items():  # in the order of execution
            ranks = chosen[path]
            if ranks is None or not subject.cheaper(ranks):
                notes[path] = {"left whole": "factors of the ranks asked for are not cheaper"}
                continue
            chains[path], energy = subject.factors(ranks)
            spared += subject.whole.macs - subject.costs(ranks).macs
            numbers = dict(zip(subject.decomposition.parts, ranks, strict=True))
            notes[path] = {"decomposition": subject.decomposition.name, **numbers, "energy kept": energy}
        if self.reconstruct and chains:
            refit(network, chains, calibration.inputs, calibration.seed)
        reason = (
            f"factorise {len(chains)} of {len(layers)} layers, {self.convolution} for convolutions: "
            f"{spared:,} of {sum(macs(network).values()):,} multiply-accumulates less"
        )
        return Plan("low-rank", tuple(Factorise(path, chain) for path, chain in chains.items()), reason, notes)

    def _decomposition(self, layer: nn.Conv2d | nn.Linear, seed: int) -> Decomposition:
        if isinstance(layer, nn.Linear) or layer.weight.shape[2:].numel() == 1:
            return Svd(layer)
        if self.convolution == "tucker":
            return Tucker(layer)
        return Spatial(layer) if self.convolution == "spatial" else Cp(layer, seed)

    def _ranks(self, network: Network, subjects: dict[str, _Subject]) -> dict[str, Ranks | None]:
        """Ranks by layer; None: the layer stays whole."""
        chosen: dict[str, Ranks | None] = {}
        for path, ranks in self.ranks.items():
            if path in subjects:
                _check(path, subjects[path].decomposition, ranks)
                chosen[path] = ranks
        others = {path: subject for path, subject in subjects.items() if path not in chosen}
        if self.macs is not None:
            return {**chosen, **_within(network, subjects, chosen, others, "macs", self.macs)}
        if self.weights is not None:
            return {**chosen, **_within(network, subjects, chosen, others, "weights", self.weights)}
        if self.rank == "budget":
            return {**chosen, **self._within_measured(network, subjects, chosen, others)}
        for path, subject in others.items():
            decomposition = subject.decomposition
            if self.rank == "vbmf":
                chosen[path] = decomposition.vbmf()
            else:
                ladder = subject.ladder
                place = bisect_left(ladder, self.energy - 1e-12, key=decomposition.energy)
                chosen[path] = ladder[place] if place < len(ladder) else None
        return chosen

    def _within_measured(
        self,
        network: Network,
        subjects: dict[str, _Subject],
        chosen: dict[str, Ranks | None],
        others: dict[str, _Subject],
    ) -> dict[str, Ranks | None]:
        """Ranks of the least share of products, or of weights, that brings the packed network within its limit."""
        measure, unit = (latency, "macs") if self.size is None else (size, "weights")
        name, fraction = ("latency", self.latency) if self.size is None else ("size", self.size)
        assert fraction is not None
        limit = (1 - fraction) * measure(network)
        measured = 0.0

        def found(step: int) -> dict[str, Ranks | None] | None:
            try:
                return _within(network, subjects, chosen, others, unit, step / _SHARES)
            except BudgetError:
                return None

        def fits(step: int) -> bool:
            nonlocal measured
            ranks = {**chosen, **(found(step) or {})}
            edits = (
                Factorise(path, subject.factors(of)[0])
                for path, subject in subjects.items()
                if (of := ranks[path]) is not None and subject.cheaper(of)
            )
            measured = measure(apply(network, Plan("low-rank", tuple(edits))))
            return measured <= limit

        most = bisect_left(range(1, _SHARES), True, key=lambda step: found(step) is None)
        if most == 0 or not fits(most):
            raise BudgetError(
                f"low-rank: {name} is {fraction}, more than the lowest ranks save: found {measured:.4g}, expected at "
                f"most {limit:.4g} of {'bytes' if name == 'size' else 'milliseconds'}"
            )
        return found(1 + bisect_left(range(1, most), True, key=fits)) or {}


def _within(
    network: Network,
    subjects: dict[str, _Subject],
    chosen: dict[str, Ranks | None],
    others: dict[str, _Subject],
    unit: str,
    fraction: float,
) -> dict[str, Ranks | None]:
    """Ranks of the other layers, those chosen already being given, that save this fraction of ``macs`` or ``weights``.

    Raises:
        BudgetError: the lowest ranks save less.
    """

    def price(costs: Costs) -> int:
        return costs.weights if unit == "weights" else costs.macs

    total = sum((weights if unit == "weights" else macs)(network).values())
    limit = (1 - fraction) * total - (total - sum(price(subject.whole) for subject in others.values()))
    for path, ranks in chosen.items():
        subject = subjects[path]
        if ranks is not None and subject.cheaper(ranks):
            limit += price(subject.whole) - price(subject.costs(ranks))
    ladders = {
        path: [
            Rung(None, price(subject.whole), 1.0),
            *(Rung(r, price(subject.costs(r)), subject.decomposition.energy(r)) for r in subject.ladder),
        ]
        for path, subject in others.items()
    }
    try:
        return {path: rung.ranks for path, rung in share(ladders, limit).items()}
    except BudgetError as error:
        raise BudgetError(f"low-rank: {unit} is {fraction}, more than the lowest ranks save: {error}") from error


@dataclass(frozen=True)
class _Subject:
    """A layer that may be factorised."""

    decomposition: Decomposition
    pixels: Pixels
    whole: Costs
    made: dict[Ranks, tuple[Factors, float]] = field(default_factory=dict)

    def costs(self, ranks: Ranks) -> Costs:
        return self.decomposition.costs(ranks, self.pixels)

    def factors(self, ranks: Ranks) -> tuple[Factors, float]:
        """The decomposition's, computed once for each of its ranks."""
        if ranks not in self.made:
            self.made[ranks] = self.decomposition.factors(ranks)
        return self.made[ranks]

    def cheaper(self, ranks: Ranks) -> bool:
        return self.costs(ranks).below(self.whole)

    @property
    def ladder(self) -> list[Ranks]:
        """The ranks that make it cheaper."""
        return [ranks for ranks in self.decomposition.ladder if self.cheaper(ranks)]


def _check(path: str, decomposition: Decomposition, ranks: Ranks) -> None:
    """Raises RecipeError unless the layer can have these ranks."""
    largest = decomposition.largest
    if len(ranks) != len(largest) or not all(1 <= rank <= most for rank, most in zip(ranks, largest, strict=False)):
        raise RecipeError(
            f"low-rank: ranks.{path} is {list(ranks)}, expected {' and '.join(decomposition.parts)} "
            f"from 1 to {' and '.join(map(str, largest))} ({decomposition.name})"
        )


ENTRY = Entry(
    row="PR13",
    name="low-rank",
    family="pruning",
    paper="Lebedev et al. (CP), ICLR 2015; Kim et al. (Tucker-2), ICLR 2016; Jaderberg et al. (spatial), BMVC 2014.",
    options=LowRank,
)
