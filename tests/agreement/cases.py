"""The case of a seed: a network in its forms, images and how it is packed; the same for the same seed, whatever ran before.

Making a network is dearer than comparing it, so ``VARIANTS`` seeds in a row share a structure (layers, shapes, kinds of
forms) and draw everything else themselves: weights, masks, indices, biases, statistics, scales, zero points, images.

Kinds: ``float`` mixes dense, masked, codebook, hashed and sign; ``binary`` has XNOR-Net's layers among them; in
``integer`` all weights are of 2 to 8 bits, with scales and zero points at random, and ``fixed`` is the same in powers of
two with biases of whole steps. Batch-norm is folded before weights become integers, so these two have none.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from camfit.data import Normalisation
from camfit.forms import Codebook, Form, Integer, Masked, attach, form_of, stored_of
from camfit.layers import BinaryConv2d, BinaryLinear, Quantize, QuantizeMean
from camfit.methods.precision.placement import Placement
from camfit.network import INPUT, Network, Node
from camfit.pack import CODERS
from networks import Allowed, random_form, random_network

VARIANTS = 16
KINDS = ("float", "float", "binary", "integer", "integer", "fixed")
INTEGER_KINDS = ("integer", "fixed")
FORMS = ("dense", "masked", "codebook", "hashed", "sign")


class KnownShapes(Network):
    """A network that remembers its shapes: packing asks for them at every variant."""

    known: dict[str, tuple[int, ...]] | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        if self.known is None:
            self.known = super().shapes()
        return self.known


@dataclass(frozen=True)
class Case:
    """Attributes:
    seed: what made it.
    kind: one of ``KINDS``.
    network: evaluation mode; good until the structure's next case is drawn.
    images: uint8 [2, H, W, C].
    normalisation: of the images.
    coder: entropy coder of the file.
    """

    seed: int
    kind: str
    network: Network
    images: np.ndarray
    normalisation: Normalisation
    coder: str


class Structure:
    """Layers, shapes and kinds of forms of the seeds ``number·VARIANTS`` to ``(number + 1)·VARIANTS − 1``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.kind = KINDS[number % len(KINDS)]
        self.chosen = random.Random(f"structure {number}")
        self.integers = self.kind in INTEGER_KINDS
        self.wide = number // len(KINDS) % 4 == 3
        allowed = Allowed(binary=self.kind == "binary", norm=not self.integers, wide=self.wide)
        network = random_network(number, allowed)
        paths = list(network.weighted())
        self.floats = paths[-self.chosen.choice([1, 1, 2]) :] if self.chosen.random() < 0.25 else []
        self.groups: tuple[tuple[str, ...], ...] = ()
        self.inputs_of: dict[str, list[str]] = {}
        self.means: dict[str, str] = {}  # of each layer that makes bytes of a global mean: a source of its input
        self.channelwise = self.chosen.random() < 0.5
        self.affine = self.kind == "integer" and self.chosen.random() < 0.5
        self._place_forms(network)
        if self.integers:
            network = self._with_bytes(network)
        layers = {path: layer.requires_grad_(False) for path, layer in network.layers()}
        self.network = KnownShapes(network.nodes, layers, network.input_shape).eval()

    def case(self, seed: int) -> Case:
        """Draws everything that differs from seed to seed, in place."""
        rng = np.random.default_rng(seed)
        levels = self._draw_levels(rng) if self.integers else {}
        for path, layer in self.network.layers():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                self._draw_weighted(path, layer, rng, levels)
            elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
                _draw_norm(layer, rng)
        channels, *size = self.network.input_shape
        scale, shift = rng.uniform(0.005, 0.02, channels), rng.uniform(-2, -0.5, channels)
        if self.kind == "fixed":
            scale, shift = 2.0 ** rng.integers(-8, -5, channels), rng.integers(-128, 1, channels) / 64
        images = rng.integers(0, 256, (2, *(size or (1, 1)), channels), dtype=np.uint8)
        coder = CODERS[int(rng.integers(len(CODERS)))]
        normalisation = Normalisation(tuple(scale.tolist()), tuple(shift.tolist()))
        return Case(seed, self.kind, self.network, images, normalisation, coder)

    def _place_forms(self, network: Network) -> None:
        generator = torch.Generator().manual_seed(self.number)
        bits = self.chosen.choice([8, 8, 7, 6, 5, 4, 3, 2])
        for path, layer in network.weighted().items():
            if isinstance(layer, BinaryConv2d | BinaryLinear):
                continue
            weight = layer.weight.detach()
            if self.integers and path not in self.floats:
                mask = torch.ones_like(weight, dtype=torch.bool) if self.chosen.random() < 0.3 else None
                form: Form | None = Integer(torch.ones(len(weight)), bits, mask)
                attach(layer, form, weight)
            else:
                forms = FORMS[:-1] if self.integers else FORMS  # tests/integer_graph.py knows no sign
                attach(layer, *random_form(self.chosen.choice(forms), weight, self.chosen, generator))

    def _with_bytes(self, network: Network) -> Network:
        """A ``Quantize`` behind every value that the integer layers want as bytes, as the planners put it."""
        integers = [path for path in network.weighted() if path not in self.floats]
        placement = Placement(network, integers)
        # An average of bytes is rounded to one of the same bytes, as the planners have it.
        self.groups = tuple(
            (*group, *(name for name in placement.averages if placement.origins[name] <= set(group)))
            for group in placement.groups
        )
        for path in integers:
            self.inputs_of[path] = [o for call in network.calls(path) for o in placement.origins[call.inputs[0]]]
        layers = dict(network.layers())
        renamed = {name: f"{name.replace('@', '_')}_bytes" for group in self.groups for name in group}
        layers |= {new: Quantize() for new in renamed.values()}
        for node in network.nodes:
            if node.name in renamed and isinstance(network.layer(node.layer), nn.AdaptiveAvgPool2d):
                pixels = math.prod(network.shapes()[node.inputs[0]][1:])
                layers[renamed[node.name]] = QuantizeMean(pixels=pixels)
                self.means[renamed[node.name]] = min(placement.origins[node.inputs[0]])
        nodes = [Node(renamed[INPUT], renamed[INPUT], (INPUT,))] if INPUT in renamed else []
        for node in network.nodes:
            nodes.append(Node(node.name, node.layer, tuple(renamed.get(name, name) for name in node.inputs)))
            if node.name in renamed:
                nodes.append(Node(renamed[node.name], renamed[node.name], (node.name,)))
        return Network(tuple(nodes), layers, network.input_shape)

    def _draw_levels(self, rng: np.random.Generator) -> dict[str, float]:
        """Scale and zero point of each group of values; the scale of each value by name."""
        scales: dict[str, float] = {}
        for group in self.groups:
            scale = float(rng.uniform(0.005, 0.05))
            scale = 2.0 ** round(math.log2(scale)) if self.kind == "fixed" else float(np.float32(scale))
            zero = int(rng.integers(256)) if self.affine else int(rng.choice([0, 128]))
            for name in group:
                scales[name] = scale
                layer = self.network.get_submodule(f"{name.replace('@', '_')}_bytes")
                assert isinstance(layer, Quantize)
                layer.scale.fill_(scale)
                layer.zero_point.fill_(zero)
        for path, source in self.means.items():
            layer = self.network.get_submodule(path)
            assert isinstance(layer, QuantizeMean)
            layer.source_scale = scales[source]
        return scales

    def _draw_weighted(
        self, path: str, layer: nn.Conv2d | nn.Linear, rng: np.random.Generator, levels: dict[str, float]
    ) -> None:
        stored, form = stored_of(layer), form_of(layer)
        shape = tuple(layer.parametrizations.weight[0].index.shape) if isinstance(form, Codebook) else stored.shape  # type: ignore[union-attr,index]
        fan_in = layer.in_features if isinstance(layer, nn.Linear) else layer.weight[0].numel()
        spread = (1.5 / fan_in) ** 0.5
        _fill(stored, spread * rng.standard_normal(tuple(stored.shape), dtype=np.float32))
        density = (0.1, 0.5, 0.9)[int(rng.integers(3))]
        alive = rng.random((*shape[:2], 1, 1) if len(shape) == 4 and rng.random() < 0.3 else shape) < density
        alive = alive | np.zeros(shape, dtype=bool)  # at times whole kernels are zero
        if isinstance(form, Masked) or (isinstance(form, Integer) and form.mask is not None):
            _fill(form.mask, alive)
        elif isinstance(form, Codebook):
            index = np.where(alive, rng.integers(0, form.entries, shape), -1)
            _fill(form.index, index.astype(np.int32))
        step: Tensor | float = 0.0
        if isinstance(form, Integer):
            scale = stored.abs().flatten(1).amax(1) / form.limit * float(rng.uniform(0.5, 1.0)) + 1e-6
            scale = scale if self.channelwise else scale.amax().expand_as(scale)
            form.scale.copy_(2.0 ** scale.log2().round() if self.kind == "fixed" else scale)
            # The planner's rule: whole steps of the largest scale are whole steps of the others.
            step = form.scale * max(levels[name] for name in self.inputs_of[path])
        if layer.bias is not None:
            bias = torch.from_numpy(rng.uniform(-0.5, 0.5, len(layer.bias)).astype(np.float32))
            whole_steps = self.kind == "fixed" and isinstance(form, Integer)
            layer.bias.copy_(step * torch.floor(bias / step + 0.5) if whole_steps else bias)


def _fill(tensor: Tensor | None, values: np.ndarray) -> None:
    assert tensor is not None
    tensor.copy_(torch.from_numpy(values))


def _draw_norm(layer: nn.BatchNorm2d | nn.BatchNorm1d, rng: np.random.Generator) -> None:
    count = layer.num_features
    signs = np.where(rng.random(count) < 0.25, -1, 1)
    for tensor, values in (
        (layer.weight, rng.uniform(0.5, 1.5, count) * signs),
        (layer.bias, rng.uniform(-0.5, 0.5, count)),
        (layer.running_mean, rng.uniform(-0.5, 0.5, count)),
        (layer.running_var, rng.uniform(0.5, 2.0, count)),
    ):
        _fill(tensor, values.astype(np.float32))
