"""Optimal brain surgeon. Hassibi, Stork, Second Order Derivatives for Network Pruning, NIPS 1993 (PR2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from camfit.errors import PlanError, RecipeError
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.curvature import slopes
from camfit.methods.pruning.deletion import add_vectors, delete, deletion_losses, first_inverse
from camfit.methods.pruning.share_weights import kept_of, prunable_layers, tally
from camfit.methods.pruning.weight_blocks import Blocks, blocks_of
from camfit.methods.pruning.weight_budget import WeightBudget, shared_masks
from camfit.network import Network
from camfit.plan import Constrain, Plan

# Elements (of 8 bytes) of inverses that are held at the same time; a layer that needs more is taken alone.
_HELD = 1 << 27


@dataclass(frozen=True)
class OptimalBrainSurgeon(WeightBudget):
    """Deletes weights one at a time, always the one with the least L_q = w_q² / (2·[H⁻¹]_qq), and updates all others.

    The update is δw = -(w_q / [H⁻¹]_qq)·H⁻¹e_q. H is the Gauss-Newton matrix of the mean cross-entropy over the
    calibration images (the paper's outer products), inverted by its recursion from H₀ = α·I; after each deletion H⁻¹
    loses the weight's row and column. The update rests on the network being trained: the paper takes the gradient for
    zero.

    A network of at most ``whole`` weights has one H⁻¹. In larger ones H is taken for block-diagonal: a block is a layer
    of at most ``block`` weights, else one output channel's row, else an equal part of it with at most ``block``.
    Updates then stay inside a block; the order of deletions is common to all. Time grows with weights · block²,
    memory with weights · block, 8 bytes each (above 1 GB, layer by layer). Biases stay as they are.

    Attributes:
        whole: weights up to which the whole network has one H⁻¹.
        block: the most weights that share an H⁻¹ in larger networks.
        alpha: α of H₀ = α·I; the paper's range is 1e-8 to 1e-4.
        samples: classes drawn for each image; 0 takes every class exactly (100 draws where an image has more than 100
            outputs).
    """

    NAME: ClassVar[str] = "optimal-brain-surgeon"

    sparsity: float | None = 0.5
    whole: int = 1024
    block: int = 128
    alpha: float = 1e-6
    samples: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, least in (("whole", self.whole, 0), ("block", self.block, 1), ("samples", self.samples, 0)):
            if value < least:
                raise RecipeError(f"optimal-brain-surgeon: {name} is {value}, expected {least} or more")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise RecipeError(f"optimal-brain-surgeon: alpha is {self.alpha}, expected above 0")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Masks and new values for every weighted layer.

        Raises:
            PlanError: a weight lives in a form that would not hold the new values, or ``alpha`` is too small beside the
                second derivatives for double precision.
        """
        try:
            return self._plan(network, calibration)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # the stubs miss it
            raise PlanError(
                f"optimal-brain-surgeon: H⁻¹ is lost to rounding with alpha {self.alpha:g}; a larger alpha helps"
            ) from error

    def _plan(self, network: Network, calibration: Calibration) -> Plan:
        weights = self._weights(network)
        alive = {path: weight != 0 for path, weight in weights.items()}
        groups = blocks_of({path: tuple(weight.shape) for path, weight in weights.items()}, self.whole, self.block)
        batches = _in_memory(groups)
        scores: dict[str, Tensor] = {}
        for batch in batches:
            inverses = self.inverses(network, batch, calibration)
            for blocks, inverse in zip(batch, inverses, strict=True):
                scores |= blocks.unpack(deletion_losses(_rows(blocks, weights), inverse))
        masks, curves = shared_masks(self, network, calibration, scores, alive)
        notes = tally(alive, masks)
        edits: list[Constrain] = []
        lost = 0.0
        for batch in batches:
            if len(batches) > 1:
                inverses = self.inverses(network, batch, calibration)
            for blocks, inverse in zip(batch, inverses, strict=True):
                gone = _rows(blocks, {path: ~mask for path, mask in masks.items()}) > 0
                values, losses = delete(_rows(blocks, weights), inverse, gone)
                lost += float(losses.sum())
                for path, new in blocks.unpack(values).items():
                    edits.append(Constrain(path, Masked(masks[path]), new.to(weights[path])))
                    notes[path]["weights of a block"] = blocks.size
        how = f"{len(calibration.inputs)} images"
        reason = f"{kept_of(notes)} by w² / 2[H⁻¹]qq ({how}), which foresees {lost:.3g} more loss"
        return Plan("optimal-brain-surgeon", tuple(edits), reason, notes, curves)

    def inverses(self, network: Network, groups: Sequence[Blocks], calibration: Calibration) -> list[Tensor]:
        """H⁻¹ of every block [blocks, size, size], float64, by the recursion over the calibration images."""
        inverses = [first_inverse(blocks.count, blocks.size, self.alpha) for blocks in groups]
        share = 1 / math.sqrt(len(calibration.inputs))
        paths = [path for blocks in groups for path in blocks.shapes]
        for factors in slopes(network, calibration.inputs, paths, self.samples, calibration.seed):
            squares: dict[int, Tensor] = {}
            for one in factors:
                for number, blocks in enumerate(groups):
                    if blocks.along_inputs(one):
                        square = one[next(iter(blocks.shapes))].back[0].square()
                        squares[number] = squares[number] + square if number in squares else square
                    else:
                        add_vectors(inverses[number], blocks.vectors(one) * share)
            for number, square in squares.items():
                add_vectors(inverses[number], groups[number].vectors_along_inputs(one, square) * share)
        return inverses

    def _weights(self, network: Network) -> dict[str, Tensor]:
        """The weights that may go, by layer."""
        layers = prunable_layers(network, "optimal-brain-surgeon", self.keep, self.skip)
        for path, layer in layers.items():
            form = form_of(layer)
            if form is not None and not isinstance(form, Masked):
                raise PlanError(
                    f"optimal-brain-surgeon: layer {path!r}: its weight lives in form {form.name} "
                    f"({form.origin or 'an earlier edit'}), which cannot take the values that deletions leave"
                )
        return {path: weight_of(layer).detach() for path, layer in layers.items()}


def _in_memory(groups: Iterable[Blocks]) -> list[list[Blocks]]:
    """The groups in batches whose inverses are held at the same time."""
    batches: list[list[Blocks]] = [[]]
    held = 0
    for blocks in groups:
        elements = blocks.count * blocks.size**2
        if batches[-1] and held + elements > _HELD:
            batches.append([])
            held = 0
        batches[-1].append(blocks)
        held += elements
    return batches


def _rows(blocks: Blocks, values: dict[str, Tensor]) -> Tensor:
    """Tensors of the weights' shapes as [blocks, size], float64."""
    return blocks.pack({path: values[path][None] for path in blocks.shapes})[:, 0]


ENTRY = Entry(
    row="PR2",
    name="optimal-brain-surgeon",
    family="pruning",
    paper=(
        "Hassibi, Stork: Second Order Derivatives for Network Pruning: Optimal Brain Surgeon. "
        "Advances in Neural Information Processing Systems 5, 1993."
    ),
    options=OptimalBrainSurgeon,
)
