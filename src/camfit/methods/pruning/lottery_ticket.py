"""Lottery tickets. Frankle, Carbin, The Lottery Ticket Hypothesis, ICLR 2019 (PR15)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from camfit.errors import CamfitError, PlanError, RecipeError
from camfit.execute import Workshop, execute
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration, Entry
from camfit.methods.pruning.share_weights import check_keep, kept_of, prunable_layers, tally
from camfit.network import Network
from camfit.plan import Constrain, Edit, Plan, SetValues
from camfit.recipe import Recipe, Rewrite
from camfit.run import Record, Run
from camfit.storage import load_network
from camfit.train import Train

_VALUES = ("bias", "weight", "running_mean", "running_var")


@dataclass(frozen=True)
class LotteryTicket:
    """One round: prunes the smallest of the weights that are left, layer by layer, and puts the others back.

    Rounds of training and this are iterative magnitude pruning; :func:`find_ticket` makes them. Put back are all values
    of the network in the file ``rewind``, biases and batch-norm included: the initial network's for the paper's ticket,
    one saved early in training for late rewinding, another initialisation's for the control *same mask, new values*.
    With ``mask = "random"`` the round is the control *random mask*.

    Attributes:
        rewind: network file whose values are put back; empty leaves the trained values where they are.
        rate: fraction of each layer's remaining weights to prune, in [0, 1).
        output_rate: the same for the layers that no other weighted layer follows; the paper takes half of ``rate``,
            which None does.
        rates: fraction by layer.
        keep: fraction of all of a layer's weights to keep, by layer; takes the place of the rates.
        mask: ``magnitude``, or ``random``: the weights to prune are drawn by the seed.
        skip: layers whose weights are not pruned; they are put back as well.
    """

    rewind: str = ""
    rate: float = 0.2
    output_rate: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    keep: dict[str, float] = field(default_factory=dict)
    mask: Literal["magnitude", "random"] = "magnitude"
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_keep("lottery-ticket", self.keep)
        named = {"rate": self.rate, **{f"rates.{path}": rate for path, rate in self.rates.items()}}
        if self.output_rate is not None:
            named["output_rate"] = self.output_rate
        for name, rate in named.items():
            if not 0 <= rate < 1:
                raise RecipeError(f"lottery-ticket: {name} is {rate}, expected in [0, 1)")
        if self.mask not in ("magnitude", "random"):
            raise RecipeError(f"lottery-ticket: mask is {self.mask!r}, expected 'magnitude' or 'random'")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Masks for every weighted layer that is not skipped, and the values of ``rewind``.

        Raises:
            PlanError: a weight lives in a form that holds no zeros or cannot be put back; or the file holds another
                architecture (names the layer, found and expected shapes), or cannot be read.
        """
        layers = prunable_layers(network, "lottery-ticket", (*self.rates, *self.keep), self.skip)
        weights = {path: weight_of(layer).detach() for path, layer in layers.items()}
        alive = {path: weight != 0 for path, weight in weights.items()}
        masks = self._masks(network, weights, alive, calibration.seed)
        edits: list[Edit] = [Constrain(path, Masked(mask)) for path, mask in masks.items()]
        if self.rewind:
            edits = _put_back(network, masks, self.rewind)
        notes = tally(alive, masks)
        values = "rewound" if self.rewind else "not rewound"
        return Plan("lottery-ticket", tuple(edits), f"{kept_of(notes)} by {self.mask}, {values}", notes)

    def _masks(
        self, network: Network, weights: dict[str, Tensor], alive: dict[str, Tensor], seed: int
    ) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        last = _outputs(network)
        masks: dict[str, Tensor] = {}
        for path, weight in weights.items():
            scores = weight.abs() if self.mask == "magnitude" else torch.rand(weight.shape, generator=generator)
            rate = self.rate
            if path in last:
                rate = self.rate / 2 if self.output_rate is None else self.output_rate
            left = int(alive[path].sum())
            count = round((1 - self.rates.get(path, rate)) * left)
            if path in self.keep:
                count = min(left, round(self.keep[path] * weight.numel()))
            order = torch.where(alive[path], scores, -1.0).flatten().sort(descending=True, stable=True).indices
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[order[: max(min(1, left), count)]] = True
            masks[path] = mask.reshape(weight.shape)
        return masks


def find_ticket(
    initial: Network,
    workshop: Workshop,
    run: Run,
    *,
    rounds: int,
    training: Train,
    options: LotteryTicket | None = None,
    prefix: str = "ticket-",
) -> tuple[Network, list[Record]]:
    """Iterative magnitude pruning: trains, prunes and rewinds ``rounds`` times.

    Every training starts from the values of ``initial``. Each training and each round is a step of the run, so a killed
    search goes on where it was; its steps' networks are the tickets of every sparsity on the way.

    Args:
        initial: untrained, or trained a little (late rewinding); left as it is.
        run: keeps the initial network and each step.
        training: of every round.
        options: of every round, None for the defaults; ``rewind`` is set here.
        prefix: of the steps' names.

    Returns:
        The ticket, rewound and not yet trained, and the steps' records.
    """
    name = f"{prefix}initial"
    run.network(name, lambda _: (initial, {"name": name, "kind": "initial"}))
    file = run.path / "steps" / name / "network.safetensors"
    settings = {**asdict(options or LotteryTicket()), "rewind": str(file)}
    recipe = Recipe("lottery ticket", (training, Rewrite("lottery-ticket", settings)) * rounds)
    return execute(recipe, initial, workshop, run, prefix=prefix)


def _outputs(network: Network) -> set[str]:
    """Weighted layers behind which no other weighted layer comes."""
    weighted = network.weighted()
    followed: set[str] = set()  # values that some weighted layer reads, directly or through other layers
    early: set[str] = set()
    for node in reversed(network.nodes):
        if node.layer in weighted and node.name in followed:
            early.add(node.layer)
        if node.layer in weighted or node.name in followed:
            followed.update(node.inputs)
    return set(weighted) - early


def _put_back(network: Network, masks: dict[str, Tensor], file: str) -> list[Edit]:
    """The edits that give every layer the values of the file's network, pruned weights zero."""
    try:
        source = load_network(Path(file))
    except (CamfitError, OSError) as error:
        raise PlanError(f"lottery-ticket: rewind {file!r} cannot be read as a network: {error}") from error
    there = dict(source.layers())
    edits: list[Edit] = []
    for path, layer in network.layers():
        for leaf, present in _values(layer).items():
            found = _values(there[path]).get(leaf) if path in there else None
            if found is None or found.shape != present.shape:
                what = "none" if found is None else f"one of shape {list(found.shape)}"
                raise PlanError(
                    f"lottery-ticket: layer {path!r}: rewind {file!r} has {what} for {leaf}, expected shape "
                    f"{list(present.shape)}"
                )
            form = form_of(layer) if leaf == "weight" else None
            if form is not None and not isinstance(form, Masked):
                raise PlanError(
                    f"lottery-ticket: layer {path!r}: its weight lives in form {form.name} "
                    f"({form.origin or 'an earlier edit'}) and cannot be put back"
                )
            if leaf == "weight" and path in masks:
                edits.append(Constrain(path, Masked(masks[path]), found * masks[path]))
            else:
                edits.append(SetValues(f"{path}.{leaf}", found if form is None else found * form.mask))
    return edits


def _values(layer: nn.Module) -> dict[str, Tensor]:
    """The layer's values that a plan can set."""
    values = dict(layer.named_buffers(recurse=False)) | dict(layer.named_parameters(recurse=False))
    if form_of(layer) is not None:
        values["weight"] = weight_of(layer)
    return {name: values[name].detach() for name in _VALUES if name in values}


ENTRY = Entry(
    row="PR15",
    name="lottery-ticket",
    family="pruning",
    paper="Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks. ICLR 2019.",
    options=LotteryTicket,
)
