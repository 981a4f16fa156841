"""The search behind ``camfit fit``: a fixed ladder of recipes, climbed until a limit breaks, then bisected.

Each rung prunes deeper (PR3) from the rung before, shares weights harder (QZ2) and trains against soft targets of the
original (KD3). All choices are made on validation data with the engine's own outputs and the packed file's own bytes.
Where a latency limit is set, filters are removed first (PR6), as many as the measured milliseconds ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import msgspec
import numpy as np
from torch import nn

from camfit.budget import Budget
from camfit.cost import macs
from camfit.data import Dataset
from camfit.engine import Engine
from camfit.errors import PlanError, TrainingError
from camfit.execute import Workshop, execute
from camfit.forms import weight_of
from camfit.loss import Teacher
from camfit.measure import accuracy, milliseconds
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.network import Network
from camfit.pack import Packed, pack
from camfit.recipe import JoinedTerm, Recipe, Rewrite
from camfit.run import Record, Run
from camfit.sensitivity import Curves, keep_fractions, sensitivity
from camfit.surgery import apply
from camfit.train import Train

# (fraction of weights kept, codebook bits of convolutions, of linear layers)
RUNGS = (
    (0.5, 8, 5),
    (0.3, 7, 5),
    (0.2, 6, 5),
    (0.13, 6, 5),
    (0.09, 6, 5),
    (0.065, 6, 4),
    (0.045, 5, 4),
    (0.032, 5, 4),
    (0.022, 5, 3),
    (0.015, 4, 3),
    (0.010, 4, 3),
)
BISECTIONS = 3
# The candidate that is neither pruned nor shared.
WHOLE = "whole"
# A latency is aimed at with this margin, because the next measurement differs.
_MARGIN = 0.95
# Training centroids hardly changes the size; a file that is larger than the limit by this factor stays too large.
_HOPELESS = 1.1
_RATIOS = tuple(step / 20 for step in range(1, 19))


@dataclass(frozen=True)
class Candidate:
    """A packed network that a rung made, with what decides over it. ``ms`` only where latency is limited.

    ``half``: packed with binary16 biases and codebooks.
    """

    name: str
    network: Network
    packed: Packed
    density: float
    validation: float
    ms: float | None
    half: bool = True

    def record(self, chosen: bool, met: bool) -> Record:
        """The rung as the report's plot shows it."""
        return {
            "name": self.name,
            "density": self.density,
            "bytes": len(self.packed.data),
            "validation": self.validation,
            "ms": self.ms,
            "met": met,
            "chosen": chosen,
        }


@dataclass
class Climb:
    """What the ladder found: the candidate to deliver, all trials, the steps of the way, and the sensitivity curves."""

    best: Candidate
    trials: list[Record]
    steps: list[Record]
    curves: Curves = field(default_factory=dict)


@dataclass(frozen=True)
class Ladder:
    """One search. ``baseline``: validation metric of the original on the engine; ``training``: how that was trained."""

    original: Network
    dataset: Dataset
    workshop: Workshop
    run: Run
    budget: Budget
    baseline: float
    threads: int
    info: dict[str, object]
    training: Train

    @cached_property
    def teacher(self) -> Teacher:
        """The original, one for all rungs: what it said about the training images is computed once."""
        return Teacher(self.original)

    # -- what a limit says ---------------------------------------------------------------------------------------

    def fits_size(self, candidate: Candidate) -> bool:
        return self.budget.max_size is None or len(candidate.packed.data) <= self.budget.max_size

    def fits_drop(self, candidate: Candidate) -> bool:
        return (
            self.budget.max_drop is None or 100 * (self.baseline - candidate.validation) <= self.budget.max_drop + 1e-9
        )

    def fits_latency(self, candidate: Candidate) -> bool:
        return self.budget.max_latency is None or candidate.ms is None or candidate.ms <= self.budget.max_latency

    def meets(self, candidate: Candidate) -> bool:
        return self.fits_size(candidate) and self.fits_drop(candidate) and self.fits_latency(candidate)

    # -- the walk ------------------------------------------------------------------------------------------------

    def climb(self) -> Climb:
        """Searches; returns the best candidate that meets the budget, else the closest one."""
        start = self.original
        steps: list[Record] = []
        if self.budget.max_latency is not None:
            start, steps = self._slim()
        whole = self._candidate(WHOLE, start, 1.0, half=False)
        if self.budget.max_size is None and self.budget.max_drop is None:
            return Climb(whole, [whole.record(True, self.meets(whole))], steps)
        curves = self._curves(start)
        rungs: list[Candidate] = []
        thin = {WHOLE: start}
        # The steps up to each rung's pruned network, and up to its packed one.
        pruning, ways = {WHOLE: steps}, {WHOLE: steps}

        def rung(name: str, source: str, shape: tuple[float, int, int]) -> Candidate:
            thin[name], candidate, pruned, shared = self._rung(name, thin[source], shape, curves)
            pruning[name] = [*pruning[source], *pruned]
            ways[name] = [*pruning[name], *shared]
            rungs.append(candidate)
            return candidate

        inside = whole
        for number, shape in enumerate(RUNGS):
            candidate = rung(f"rung-{number + 1}", inside.name, shape)
            if self._enough(candidate):
                # The first rung is bisected only where it breaks a limit: else there is nothing to win but size.
                if inside is not whole or not self.meets(candidate):
                    self._bisect(rung, inside, candidate, shape)
                break
            inside = candidate
        best = self._choose(rungs)
        try:
            final, trained, shared = self._polish(best, thin[best.name])
            ways[final.name] = [*pruning[best.name], *trained, *shared]
            rungs.append(final)
        except TrainingError as error:  # what there is by now is worth more than an error
            self.workshop.progress(f"{error}; going on with {best.name}")
        best = self._choose([whole, *rungs])
        # Where it does not come into question, the whole network is no trial: its size would dwarf the others'.
        shown = [whole, *rungs] if whole is best or self.meets(whole) else rungs
        return Climb(best, [c.record(c is best, self.meets(c)) for c in shown], ways[best.name], curves)

    def _curves(self, network: Network) -> Curves:
        """Each layer's sensitivity, scanned once a run."""
        work = sum(macs(network).values())
        found = self.run.value(
            "sensitivity",
            lambda: dict(sensitivity(network, self.workshop.validation, self.workshop.task, work, self.workshop.seed)),
        )
        return {path: [(float(a), float(b)) for a, b in points] for path, points in found.items()}

    def _enough(self, candidate: Candidate) -> bool:
        """Stop climbing: small enough where size is limited, else no longer accurate enough."""
        if self.budget.max_size is not None:
            return self.fits_size(candidate)
        return not self.fits_drop(candidate)

    def _bisect(
        self,
        rung: Callable[[str, str, tuple[float, int, int]], Candidate],
        inside: Candidate,
        outside: Candidate,
        shape: tuple[float, int, int],
    ) -> None:
        """Halves the step between the last rung inside and the first outside, on the density's logarithm."""
        low = outside.density
        for turn in range(BISECTIONS):
            middle = math.exp((math.log(inside.density) + math.log(low)) / 2)
            candidate = rung(f"{outside.name}-back-{turn + 1}", inside.name, (middle, *shape[1:]))
            if self._enough(candidate):
                low = middle
            else:
                inside = candidate

    def _choose(self, candidates: list[Candidate]) -> Candidate:
        """Within the budget: the most accurate where size is limited, else the smallest. Outside: the closest."""
        good = [c for c in candidates if self.meets(c)]
        if good and self.budget.max_size is not None:
            return max(good, key=lambda c: (c.validation, -len(c.packed.data)))
        if good:
            return min(good, key=lambda c: (len(c.packed.data), -c.validation))
        return min(candidates, key=self._excess)

    def _excess(self, candidate: Candidate) -> tuple[float, float]:
        """How far outside the budget: the sum of relative overshoots, then lost accuracy."""
        over = 0.0
        if self.budget.max_size is not None:
            over += max(0.0, len(candidate.packed.data) / self.budget.max_size - 1)
        if self.budget.max_latency is not None and candidate.ms is not None:
            over += max(0.0, candidate.ms / self.budget.max_latency - 1)
        drop = 100 * (self.baseline - candidate.validation)
        if self.budget.max_drop is not None:
            over += max(0.0, (drop - self.budget.max_drop) / max(1.0, self.budget.max_drop))
        return over, drop

    # -- recipes of a rung ---------------------------------------------------------------------------------------

    @property
    def _terms(self) -> tuple[JoinedTerm, ...]:
        return (JoinedTerm("soft-targets", {"temperature": 4.0, "alpha": 0.5}),)

    def _epochs(self, portions: int) -> int:
        """Epochs of some portions. One is at least an epoch: about 200 batches of a small set (at most 10 epochs), or
        10¹¹ multiply-accumulates forward of a small network (at most 5 epochs).
        """
        images = len(self.workshop.training)
        by_batches = min(10, round(200 / max(1, images / 128)))
        by_work = min(5, round(1e11 / max(1, images * sum(macs(self.original).values()))))
        return portions * max(1, by_batches, by_work)

    def _recovery(self, portions: int) -> Train:
        """Training between rewrites, with the L2 that makes the next round's small weights smaller.

        At no higher a rate than the original's: where that had to be low, a higher one may break down. With its L2 too,
        where it had any: in one trial, with a fifth of it, LeNet-5 under a mask of 6 % ended 0.14 points of validation
        accuracy lower.
        """
        given = self.training
        rate, decay = min(0.02, given.learning_rate), max(1e-4, given.weight_decay)
        return Train(self._epochs(portions), rate, optimizer=given.optimizer, weight_decay=decay, augment=given.augment)

    def _rewound(self, portions: int) -> Train:
        """Long training at the rates of the original, which beats low ones (Renda, Frankle, Carbin, ICLR 2020)."""
        rate = self.training.learning_rate
        return msgspec.structs.replace(self._recovery(portions), learning_rate=rate, schedule="one-cycle")

    def _rung(
        self, name: str, source: Network, shape: tuple[float, int, int], curves: Curves
    ) -> tuple[Network, Candidate, list[Record], list[Record]]:
        """(pruned network, shared and packed candidate, records of the pruning, of the sharing)."""
        density = shape[0]
        sizes = {path: weight_of(layer).numel() for path, layer in source.weighted().items()}
        keep = {path: round(share, 5) for path, share in keep_fractions(curves, sizes, density).items()}
        prune = Recipe(name, (Rewrite("magnitude", {"keep": keep}), self._recovery(2)), self._terms)
        thin, way = execute(prune, source, self.workshop, self.run, prefix=f"{name}-prune-", teacher=self.teacher)
        candidate, shared = self._share(name, thin, shape, 1)
        return thin, candidate, way, shared

    def _share(
        self, name: str, thin: Network, shape: tuple[float, int, int], portions: int
    ) -> tuple[Candidate, list[Record]]:
        """The shared, packed network. Centroids are not trained where the size is out of reach anyway."""
        density, conv_bits, linear_bits = shape
        bits = {
            path: conv_bits if isinstance(layer, nn.Conv2d) else linear_bits for path, layer in thin.weighted().items()
        }
        share = Recipe(name, (Rewrite("weight-sharing", {"layer_bits": bits}),))
        network, way = execute(share, thin, self.workshop, self.run, prefix=f"{name}-share-")
        size = len(pack(network, self.dataset.normalisation, info=self.info, half=True).data)
        if self.budget.max_size is None or size <= _HOPELESS * self.budget.max_size:
            # A centroid's gradient is a sum over thousands of weights: Adam's steps do not grow with their number.
            learning = Train(self._epochs(portions), 3e-4, optimizer="adam", augment=self.training.augment)
            tune = Recipe(name, (learning,), self._terms)
            network, tuned = execute(
                tune, network, self.workshop, self.run, prefix=f"{name}-tune-", teacher=self.teacher
            )
            way += tuned
        return self._candidate(name, network, density), way

    def _polish(self, best: Candidate, thin: Network) -> tuple[Candidate, list[Record], list[Record]]:
        """The best rung once more with longer training, and the records of it; the caller keeps the better one."""
        name = "final"
        shape = next(
            ((best.density, c, n) for d, c, n in RUNGS if d <= best.density * 1.0001), (best.density, *RUNGS[-1][1:])
        )
        longer = Recipe(name, (self._rewound(16),), self._terms)
        trained, way = execute(longer, thin, self.workshop, self.run, prefix=f"{name}-prune-", teacher=self.teacher)
        candidate, shared = self._share(name, trained, shape, 3)
        return candidate, way, shared

    def _candidate(self, name: str, network: Network, density: float, half: bool = True) -> Candidate:
        packed = pack(network, self.dataset.normalisation, info=self.info, half=half)
        engine = Engine(packed.data, threads=self.threads)
        figures = self.run.value(
            f"{name}-measured",
            lambda: {
                "validation": accuracy(engine, self.dataset.val, self.workshop.task),
                "ms": float(np.median(milliseconds(engine, self.dataset.val.images[0], 0.3)))
                if self.budget.max_latency is not None
                else None,
            },
        )
        candidate = Candidate(name, network, packed, density, figures["validation"], figures["ms"], half)
        self.workshop.progress(
            f"{name}: {len(packed.data):,} bytes, "
            f"validation {self.workshop.task.metric_name} {100 * candidate.validation:.2f} %"
            + (f", {candidate.ms:.3f} ms" if candidate.ms is not None else "")
        )
        return candidate

    # -- latency -------------------------------------------------------------------------------------------------

    def _slim(self) -> tuple[Network, list[Record]]:
        """Removes filters until the dense network runs within the limit; the smallest such share of each group."""
        limit = self.budget.max_latency
        assert limit is not None
        ratio = self.run.value("latency", lambda: {"ratio": self._latency_ratio(limit)})["ratio"]
        if not ratio:
            return self.original, []
        recipe = Recipe("slim", (Rewrite("l1-filters", {"ratio": ratio}), self._recovery(6)), self._terms)
        return execute(recipe, self.original, self.workshop, self.run, prefix="slim-", teacher=self.teacher)

    def _latency_ratio(self, limit: float) -> float:
        """The smallest ratio that is fast enough; where none is, the largest that can be cut at all."""

        def slimmed(ratio: float) -> Network:
            plan = replace(L1Filters(), ratio=ratio).plan(self.original, self.workshop.calibration)
            return apply(self.original, plan)

        def fast_enough(network: Network, ratio: float) -> bool:
            engine = Engine(pack(network, self.dataset.normalisation, half=True).data, threads=self.threads)
            ms = float(np.median(milliseconds(engine, self.dataset.val.images[0], 0.3)))
            self.workshop.progress(
                f"latency with {100 * ratio:.0f} % of the filters removed: {ms:.3f} ms (limit {limit:g})"
            )
            return ms <= _MARGIN * limit

        if fast_enough(self.original, 0.0):
            return 0.0
        try:
            smallest = slimmed(_RATIOS[-1])
        except PlanError as error:
            self.workshop.progress(f"latency: no filters can be removed: {error}")
            return 0.0
        if not fast_enough(smallest, _RATIOS[-1]):
            return _RATIOS[-1]
        low, high = -1, len(_RATIOS) - 1
        while high - low > 1:
            middle = (low + high) // 2
            try:
                enough = fast_enough(slimmed(_RATIOS[middle]), _RATIOS[middle])
            except PlanError:  # so small a ratio removes nothing
                enough = False
            low, high = (low, middle) if enough else (middle, high)
        return _RATIOS[high]
