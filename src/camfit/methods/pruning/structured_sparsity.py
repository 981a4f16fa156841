"""Structured sparsity at three scales. Anwar, Hwang, Sung, Structured Pruning of Deep CNNs, 2015 (PR4)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from camfit.errors import BudgetError, PlanError, RecipeError
from camfit.evaluate import predict
from camfit.forms import Masked, attach, form_of, stored_of, weight_of
from camfit.graph import ChannelGroup, Graph
from camfit.method import Calibration, Entry
from camfit.methods.pruning.channel_budget import ChannelBudget, cuttable
from camfit.methods.pruning.feature_maps import feature_maps, observed
from camfit.methods.pruning.limit import Limit, given_limit
from camfit.methods.pruning.particle_filter import Particle, Space, drawn, search
from camfit.methods.pruning.plan_channels import kept_counts
from camfit.methods.selection import weighted_layers
from camfit.network import INPUT, Network
from camfit.plan import Constrain, Edit, KeepChannels, Plan
from camfit.surgery import apply

_BATCH = 500
# Ratios that a limit is sought among.
_STEPS = 64

Scale = Literal["feature-map", "kernel", "intra-kernel"]


@dataclass(frozen=True)
class _Maps(ChannelBudget):
    """How many feature maps go."""

    NAME: ClassVar[str] = "structured-sparsity"


@dataclass(frozen=True)
class StructuredSparsity:
    """Prunes at one of the paper's three scales, where a particle filter says so.

    ``feature-map``: whole channels are removed. ``kernel``: whole k×k kernels, of pairs (output, input channel), are
    zero. ``intra-kernel``: the weights of all kernels that read a source map are zero but at every ``stride``-th place,
    from one offset on, places counted row by row through the kernel; that map's columns of the lowered matrix go. The
    paper leaves the order of places open. The last two scales concern convolutions with kernels larger than 1x1 that
    are not depth-wise.

    A particle is a pattern of the whole network; its importance is what it classifies right without retraining. The
    pattern that misclassifies the least of the calibration images is planned; the paper retrains after that, and
    prunes in several such rounds.

    Attributes:
        scale: ``feature-map``, ``kernel`` or ``intra-kernel``.
        ratio: share of each group's feature maps, each layer's kernels, or each layer's source maps that are pruned,
            earlier zeros counted; in [0, 1), at intra-kernel scale in [0, 1].
        macs: in place of ratio: fraction of the network's multiply-accumulates to remove, in (0, 1); every group, or
            every layer, loses the same share. At the two finer scales those that zeros spare.
        weights: in place of ratio: fraction of the weights to remove, in (0, 1).
        size: in place of ratio: fraction of the bytes of the packed file to remove, in (0, 1); at the two finer scales
            that of a pattern drawn at random.
        latency: in place of ratio: fraction of the milliseconds on the engine to remove (one thread, this machine), in
            (0, 1). A measurement: two plans may differ.
        stride: at intra-kernel scale, of the weights that stay, 2 or more.
        group: at kernel scale, neighbouring output channels that lose the same input channels; 1 is the paper's.
        particles: patterns that are followed.
        rounds: of weighing, resampling and moving them; 0 draws one pattern at random: the naive twin.
        share: of its pruned units that a particle exchanges in a move, in (0, 1].
        power: a particle's importance is (1 − misclassification)^power; 1 is the paper's, more favours good ones more.
        images: calibration images to classify, at most.
        skip: layers to leave alone.
    """

    scale: Scale = "feature-map"
    ratio: float = 0.3
    macs: float | None = None
    weights: float | None = None
    size: float | None = None
    latency: float | None = None
    stride: int = 2
    group: int = 1
    particles: int = 16
    rounds: int = 5
    share: float = 0.1
    power: float = 8.0
    images: int = 256
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            expected = ", ".join(get_args(Scale))
            raise RecipeError(f"structured-sparsity: scale is {self.scale!r}, expected one of {expected}")
        whole = self.scale == "intra-kernel"
        if not 0 <= self.ratio <= 1 or (self.ratio == 1 and not whole):
            raise RecipeError(f"structured-sparsity: ratio is {self.ratio}, expected in [0, 1{']' if whole else ')'}")
        given_limit("structured-sparsity", self._limits())
        least = {"stride": 2, "group": 1, "particles": 1, "rounds": 0, "images": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise RecipeError(f"structured-sparsity: {name} is {getattr(self, name)}, expected {low} or more")
        if not 0 < self.share <= 1:
            raise RecipeError(f"structured-sparsity: share is {self.share}, expected above 0 and at most 1")
        if not self.power > 0:
            raise RecipeError(f"structured-sparsity: power is {self.power}, expected above 0")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Channels to keep in each group, or masks of the convolutions.

        Raises:
            RecipeError: ``skip`` names a layer that is not there.
            PlanError: there is nothing to prune at this scale, or a weight lives in a form that holds no zeros.
            BudgetError: a limit asks for more than there is to prune at this scale.
        """
        seen = calibration.first(self.images)
        generator = torch.Generator().manual_seed(calibration.seed)
        if self.scale == "feature-map":
            return self._plan_maps(network, seen, generator)
        return self._plan_masks(network, seen, generator)

    def _limits(self) -> dict[str, float | None]:
        return {"macs": self.macs, "weights": self.weights, "size": self.size, "latency": self.latency}

    def _plan_maps(self, network: Network, seen: Calibration, generator: torch.Generator) -> Plan:
        graph, budget = (
            Graph.of(network),
            _Maps(
                self.ratio, macs=self.macs, weights=self.weights, size=self.size, latency=self.latency, skip=self.skip
            ),
        )
        groups = {group.name: group for group in cuttable(budget, network, graph)}
        counts = kept_counts(budget, network, graph, tuple(groups.values()), seen, {})
        spaces = {name: Space(len(group), len(group) - counts[name]) for name, group in groups.items()}

        with observed(network) as trial, torch.no_grad():
            maps = {name: feature_maps(trial, group) for name, group in groups.items()}

            def rate(particle: Particle) -> float:
                emptied: dict[str, Tensor] = {}
                for name, pattern in particle.items():
                    for of in maps[name]:
                        channels = of.channels[pattern > 0].flatten()
                        emptied[of.value] = torch.cat([emptied.get(of.value, channels[:0]), channels])
                outputs = torch.cat([_without(trial, emptied, part) for part in seen.inputs.split(_BATCH)])
                return _misclassified(outputs, seen)

            found, told = self._search(spaces, rate, generator)
        edits = [_keep(groups[name], pattern) for name, pattern in found.items() if bool(pattern.any())]
        notes = _notes({name: (len(group), counts[name]) for name, group in groups.items()})
        total = sum(len(group) for group in groups.values())
        return self._plan(edits, f"keep {sum(counts.values()):,} of {total:,} feature maps", told, notes)

    def _plan_masks(self, network: Network, seen: Calibration, generator: torch.Generator) -> Plan:
        layers = _convolutions(network, self.skip)
        weights = {path: weight_of(layer).detach() for path, layer in layers.items()}
        alive = {path: self._alive(layers[path], weight) for path, weight in weights.items()}

        def spaces_at(ratio: float) -> dict[str, Space]:
            return {
                path: Space(
                    int(units.sum()),
                    max(0, self._share_of(ratio, units.numel()) - int((~units).sum())),
                    min(self.stride, weights[path][0, 0].numel()) if self.scale == "intra-kernel" else 1,
                )
                for path, units in alive.items()
            }

        def masks(particle: Particle) -> dict[str, Tensor]:
            found: dict[str, Tensor] = {}
            for path, pattern in particle.items():
                whole = torch.zeros(alive[path].numel(), dtype=torch.int64)
                whole[alive[path].flatten()] = pattern
                found[path] = self._mask(layers[path], whole.reshape(alive[path].shape)) & (weights[path] != 0)
            return found

        def edits_of(found: Mapping[str, Tensor]) -> tuple[Constrain, ...]:
            return tuple(Constrain(path, Masked(mask)) for path, mask in found.items())

        def at_random(ratio: float) -> Network:
            pattern = drawn(spaces_at(ratio), torch.Generator().manual_seed(seen.seed))
            return apply(network, Plan("structured-sparsity", edits_of(masks(pattern))))

        spaces = spaces_at(self._ratio(network, at_random))
        with _trial(network, weights) as (trial, put):

            def rate(particle: Particle) -> float:
                put(masks(particle))
                return _misclassified(predict(trial, seen.inputs), seen)

            found, told = self._search(spaces, rate, generator)
        chosen = masks(found)
        notes = _notes({path: (mask.numel(), int(mask.sum())) for path, mask in chosen.items()})
        total, kept = (sum(int(note[key]) for note in notes.values()) for key in ("units", "kept"))
        return self._plan(edits_of(chosen), f"keep {kept:,} of {total:,} weights of kernels", told, notes)

    def _ratio(self, network: Network, at_random: Callable[[float], Network]) -> float:
        """``ratio``, or the least that meets the limit that is given."""
        if (given := given_limit("structured-sparsity", self._limits())) is None:
            return self.ratio
        limit = Limit.of(network, *given)
        step = bisect_left(range(_STEPS + 1), True, key=lambda step: limit.met(at_random(step / _STEPS)))
        if step > _STEPS:
            raise BudgetError(
                f"structured-sparsity: {limit.name} is {given[1]} at {self.scale} scale, more than can go: found "
                f"{limit.cost(at_random(1.0)):.6g} {limit.unit}, expected at most {limit.most:.6g}"
            )
        return step / _STEPS

    def _share_of(self, ratio: float, units: int) -> int:
        """How many of a layer's units are pruned: all of them at most at intra-kernel scale, all but one kernel."""
        most = units if self.scale == "intra-kernel" else units - 1
        return min(most, math.floor(ratio * units + 1e-9))

    def _alive(self, layer: nn.Conv2d, weight: Tensor) -> Tensor:
        """Bool, which units are not pruned yet: [groups of outputs, inputs], or at intra-kernel scale source maps."""
        if self.scale == "kernel":
            there = weight.flatten(2).any(2)
            rows = torch.arange(len(there)) // self.group
            counts = torch.zeros(int(rows[-1]) + 1, there.shape[1], dtype=torch.int64)
            return counts.index_add_(0, rows, there.long()) > 0
        read = weight.reshape(layer.groups, -1, *weight.shape[1:]).any(1)
        return read.flatten(2).all(2).flatten()

    def _mask(self, layer: nn.Conv2d, pattern: Tensor) -> Tensor:
        """The weight's mask from a pattern of its units."""
        shape = layer.weight.shape
        if self.scale == "kernel":
            rows = (pattern == 0).repeat_interleave(self.group, 0)[: shape[0]]
            return rows[:, :, None, None].expand(shape).clone()
        return strided_mask(pattern.reshape(layer.groups, shape[1]), self.stride, tuple(shape))

    def _search(
        self, spaces: Mapping[str, Space], rate: Callable[[Particle], float], generator: torch.Generator
    ) -> tuple[Particle, str]:
        """The pattern, and how it was found."""
        if self.rounds == 0:
            return drawn(spaces, generator), "drawn at random"
        found = search(
            spaces, rate,
            particles=self.particles, rounds=self.rounds, share=self.share, power=self.power, generator=generator,
        )  # fmt: skip
        return found.particle, (
            f"misclassifies {found.rate:.1%} of the calibration images without retraining, random patterns "
            f"{found.mean_at_first:.1%} in the mean"
        )

    def _plan(
        self,
        edits: Sequence[Edit],
        kept: str,
        told: str,
        notes: dict[str, dict[str, float | int | str]],
    ) -> Plan:
        return Plan("structured-sparsity", tuple(edits), f"{kept} at {self.scale} scale; the pattern {told}", notes)


def strided_mask(pattern: Tensor, stride: int, shape: tuple[int, ...]) -> Tensor:
    """Bool mask of a convolution's weight under intra-kernel strided sparsity.

    Args:
        pattern: [groups, input channels of a group]: 0 leaves a source map whole; n keeps places n − 1, n − 1 + stride,
            ... of all kernels that read it.
        stride: of the places, counted row by row through the kernel.
        shape: of the weight, [output channels, input channels of a group, height, width].
    """
    rows, channels, height, width = shape
    place = torch.arange(height * width)
    kept = (pattern[:, :, None] == 0) | (place % stride == (pattern[:, :, None] - 1))
    of_rows = kept.repeat_interleave(rows // len(pattern), 0)
    return of_rows.reshape(rows, channels, height, width)


def _convolutions(network: Network, skip: tuple[str, ...]) -> dict[str, nn.Conv2d]:
    """The convolutions with kernels larger than 1x1 that are neither depth-wise nor skipped."""
    layers = {
        path: layer
        for path, layer in weighted_layers(network, "structured-sparsity", skip).items()
        if isinstance(layer, nn.Conv2d) and math.prod(layer.kernel_size) > 1 and path not in skip
        if layer.groups == 1 or layer.in_channels > layer.groups
    }
    if not layers:
        raise PlanError(
            "structured-sparsity: the network has no convolution with a kernel larger than 1x1 that is neither "
            "depth-wise nor skipped"
        )
    for path, layer in layers.items():
        form = form_of(layer)
        everything = torch.ones_like(weight_of(layer), dtype=torch.bool)
        if form is not None and form.pruned(everything, stored_of(layer)) is None:
            raise PlanError(
                f"structured-sparsity: layer {path!r}: its weight lives in form {form.name} "
                f"({form.origin or 'an earlier edit'}), which holds no zeros"
            )
    return layers


@contextmanager
def _trial(
    network: Network, weights: Mapping[str, Tensor]
) -> Iterator[tuple[Network, Callable[[Mapping[str, Tensor]], None]]]:
    """A copy with dense weights in these layers, and what puts masks on them."""
    trial = network.clone()
    for path, weight in weights.items():
        attach(trial.layer(path), None, weight)

    @torch.no_grad()
    def put(masks: Mapping[str, Tensor]) -> None:
        for path, mask in masks.items():
            weight_of(trial.layer(path)).copy_(weights[path] * mask)

    yield trial, put


def _without(network: Network, emptied: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The network's outputs when these channels of these values are zero."""
    values = {INPUT: inputs}
    for node in network.nodes:
        value = network.get_submodule(node.layer)(*(values[name] for name in node.inputs))
        if node.name in emptied:
            value = value.index_fill(1, emptied[node.name], 0)
        values[node.name] = value
    return values[network.nodes[-1].name]


def _misclassified(outputs: Tensor, seen: Calibration) -> float:
    """Share of the images (or pixels) whose highest score is not that of their class.

    Where outputs are not scores of the targets' classes it is 1 − exp(−loss): with cross-entropy, what the classes lack
    in likelihood.
    """
    if outputs.dim() > 1 and outputs.argmax(1).shape == seen.targets.shape and not seen.targets.is_floating_point():
        return float((outputs.argmax(1) != seen.targets).double().mean())
    loss = float(seen.loss(outputs, seen.targets))
    return 1 - math.exp(-max(0.0, loss)) if math.isfinite(loss) else 1.0


def _keep(group: ChannelGroup, pattern: Tensor) -> KeepChannels:
    return KeepChannels(group.name, tuple((pattern == 0).nonzero()[:, 0].tolist()))


def _notes(counts: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, float | int | str]]:
    return {name: {"units": units, "kept": kept} for name, (units, kept) in counts.items()}


ENTRY = Entry(
    row="PR4",
    name="structured-sparsity",
    family="pruning",
    paper="Anwar, Hwang, Sung: Structured Pruning of Deep Convolutional Neural Networks. arXiv:1512.08571, 2015.",
    options=StructuredSparsity,
)
