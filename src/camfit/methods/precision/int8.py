"""Int8. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018 (NP4).

What the plan leaves behind trains as it is (quantization-aware training): rounding passes gradients straight through,
batch-norm is folded, and the scales stay as they were calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from camfit.errors import PlanError, RecipeError
from camfit.forms import Integer, Masked, form_of, stored_of, weight_of
from camfit.layers import BinaryConv2d, BinaryLinear, Quantize, QuantizeMean
from camfit.method import Calibration, Entry
from camfit.methods.precision.bias_correction import corrected
from camfit.methods.precision.calibration import Histogram, Rule, Scheme, Steps, clipped, power_of_two, steps
from camfit.methods.precision.equalise import equalised
from camfit.methods.precision.folding import Weighted, foldable, folded, rebuilt, replacements
from camfit.methods.precision.observe import Observed, observe
from camfit.methods.precision.placement import Placement
from camfit.methods.precision.value_equalisation import Stream, streams, value_equalised, watched
from camfit.methods.selection import weighted_layers
from camfit.network import INPUT, Network, order_memory
from camfit.plan import Append, Constrain, Plan, SetValues
from camfit.surgery import apply

Granularity = Literal["channel", "tensor"]

_NAME = "int8"

# A bias in steps of its sums takes half of 31 bits at most: a scale that would make more of it is raised.
_BIAS_STEPS = 2.0**30

_CACHED = 1 << 15


@dataclass(frozen=True)
class Int8:
    """Integer weights and bytes between integer layers, which the engine computes without a float operation.

    Layers whose weight lives in a form that rounding would break (signs, codebook, hashed) stay as they are, and values
    that only float layers read stay float; so does the network's output.

    Attributes:
        weights: one scale per output ``channel``, or per ``tensor``.
        weight_bits: 2 to 8; 7 keeps 16-bit sums of x86 without VNNI from saturating in other runtimes.
        activations: ``affine``, or ``symmetric``: zero point 128 for signed values, 0 for others.
        calibration: range of the values: ``min-max``, ``percentile``, ``mse`` (least squared error; weights too) or
            ``entropy`` (least divergence).
        percentile: of the values that the percentile rule keeps at each end.
        equalise: cross-layer equalisation first (Nagel et al., ICCV 2019); of use where scales are per tensor.
        value_equalisation: channels of one value brought nearer to a common range first (Meller et al., ICML 2019)
            where the layers that read it gain by it: they do in networks whose channels differ much behind depthwise
            layers (MobileNet v2). Channels of linear bottlenecks are centred too (Wei et al., EMNLP 2023). Only with
            weights per channel, whose scales take it up.
        bias_correction: takes the mean error of each output channel out of the bias (Nagel et al., ICCV 2019).
        output_rounding: layers whose outputs read at most so many inputs round their weights for the least error of the
            output (Frantar et al., NeurIPS 2022), not of each weight; 0: none do. Only with ``bias_correction``.
        powers_of_two: scales are powers of two, so that shifts take the place of multiplications; biases are whole
            numbers of steps (see ``fixed-point``).
        keep: layers that stay float, by path.
        images: calibration images to look at, at most.
    """

    weights: Granularity = "channel"
    weight_bits: int = 8
    activations: Scheme = "affine"
    calibration: Rule = "mse"
    percentile: float = 99.99
    equalise: bool = False
    value_equalisation: bool = True
    bias_correction: bool = True
    output_rounding: int = 64
    powers_of_two: bool = False
    keep: tuple[str, ...] = ()
    images: int = 128

    def __post_init__(self) -> None:
        for name, value, expected in (
            ("weights", self.weights, get_args(Granularity)),
            ("activations", self.activations, get_args(Scheme)),
            ("calibration", self.calibration, get_args(Rule)),
        ):
            if value not in expected:
                raise RecipeError(f"{_NAME}: {name} is {value!r}, expected one of {', '.join(expected)}")
        if not 2 <= self.weight_bits <= 8:
            raise RecipeError(f"{_NAME}: weight_bits is {self.weight_bits}, expected 2 to 8")
        if not 50 < self.percentile <= 100:
            raise RecipeError(f"{_NAME}: percentile is {self.percentile:g}, expected above 50, up to 100")
        if self.output_rounding < 0:
            raise RecipeError(f"{_NAME}: output_rounding is {self.output_rounding}, expected 0 or more")
        if self.images < 1:
            raise RecipeError(f"{_NAME}: images is {self.images}, expected 1 or more")

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Folded layers, integer forms and the places where values become bytes.

        Raises:
            PlanError: no layer can take integer weights, or the network holds bytes already.
        """
        return self.planned(network, calibration, _NAME)

    def planned(self, network: Network, calibration: Calibration, method: str) -> Plan:
        """The plan in the name of a method that is this one with some of its options."""
        layers = weighted_layers(network, method, self.keep)
        paths = self._paths(network, layers, method)
        inputs = calibration.inputs[: self.images]
        work = network.clone().eval()
        norms = foldable(work, paths)
        replaced = self._float_layers(work, paths, norms, method)
        float_edits = replacements(work, replaced, norms)
        exact = apply(work, Plan(method, float_edits))
        placement = Placement(exact, paths)
        scalable = streams(exact, paths) if self.value_equalisation and self.weights == "channel" else []
        seen = self._observed(exact, placement, inputs, scalable)
        behind = {name for group in placement.groups for name in group}
        equal = value_equalised(exact, scalable, behind, seen.channels, 2 ** (self.weight_bits - 1) - 1)
        if equal.layers:
            float_edits = replacements(work, replaced | equal.layers, norms)
            exact = apply(work, Plan(method, float_edits))
            order_memory(exact, torch.channels_last)
            seen = seen.moved(equal.moves)
        bytes_of = self._steps(exact, placement, seen, method)
        edits = [*float_edits]
        notes: dict[str, dict[str, float | int | str]] = {}
        scales: dict[str, Tensor] = {}
        for path in paths:
            scale = scales[path] = self._weight_scale(exact, path, placement, bytes_of)
            edits.append(Constrain(path, Integer(scale, self.weight_bits)))
            notes[path] = _figures(exact.layer(path), scale, self.weight_bits)
        taken = {*exact.layer_paths(), *(node.name for node in exact.nodes)}
        for name, found in (bytes_of | _rounded_averages(placement, bytes_of)).items():
            new = f"{name.replace('@', '_')}_bytes"
            while new in taken:
                new += "_"
            taken.add(new)
            edits.append(Append(name, new, _layer(exact, name, found, placement, bytes_of)))
        biases = {path: bias.detach() for path in paths if isinstance(bias := exact.layer(path).bias, Tensor)}
        if self.bias_correction:
            rounded = apply(exact, Plan(method, tuple(edits[len(float_edits) :])))
            corrections = corrected(rounded, seen.means, seen.images, self.output_rounding)
            biases |= corrections.biases
            for number, edit in enumerate(edits):
                if isinstance(edit, Constrain) and edit.layer in corrections.weights:
                    edits[number] = Constrain(edit.layer, edit.form, corrections.weights[edit.layer])
        if self.powers_of_two:
            for path in biases:
                # Steps of the largest scale are whole steps of the others too.
                step = scales[path] * max(_input_steps(exact, path, placement, bytes_of))
                biases[path] = step * torch.floor(biases[path] / step + 0.5)
        if self.bias_correction or self.powers_of_two:
            edits += [SetValues(f"{path}.bias", values) for path, values in biases.items()]
        reason = f"int{self.weight_bits} weights per {self.weights} and {self.activations} bytes ({self.calibration})"
        if self.powers_of_two:
            reason += " with scales that are powers of two,"
        return Plan(method, tuple(edits), f"{reason} in {len(paths)} of {len(layers)} layers", notes)

    def _paths(self, network: Network, layers: dict[str, nn.Module], method: str) -> tuple[str, ...]:
        """The layers that get integer weights."""
        for path, layer in network.layers():
            if isinstance(layer, Quantize):
                forms = (form_of(layer) for layer in layers.values())
                earlier = {form.origin for form in forms if isinstance(form, Integer)}
                by = ", ".join(sorted(earlier - {""})) or "an earlier edit"
                raise PlanError(f"{method}: the network holds bytes already (layer {path!r}, by {by})")
        reasons: dict[str, str] = {}
        for path, layer in layers.items():
            form = form_of(layer)
            if path in self.keep:
                reasons[path] = "is kept float"
            elif form is not None and not isinstance(form, Masked):
                reasons[path] = f"has a weight in form {form.name} ({form.origin or 'an earlier edit'})"
            elif isinstance(layer, BinaryConv2d | BinaryLinear):
                reasons[path] = "is binary"
        if len(reasons) == len(layers):
            why = "; ".join(f"{path!r} {reason}" for path, reason in reasons.items())
            raise PlanError(f"{method}: no layer can take integer weights: {why or 'there is none'}")
        return tuple(path for path in layers if path not in reasons)

    def _float_layers(
        self, network: Network, paths: tuple[str, ...], norms: dict[str, str], method: str
    ) -> dict[str, Weighted]:
        """Folding, equalisation of weights, and a bias wherever one will be corrected: the function stays as it is."""
        layers: dict[str, Weighted] = {}
        for path, norm_path in norms.items():
            layer, norm = network.layer(path), network.layer(norm_path)
            assert isinstance(layer, Weighted) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
            layers[path] = folded(layer, norm)
        if self.equalise:
            layers |= equalised(apply(network, Plan(method, replacements(network, layers, norms))), paths)
        for path in paths if self.bias_correction else ():
            layer = layers.get(path, network.layer(path))
            assert isinstance(layer, Weighted)
            if layer.bias is None and len(network.calls(path)) == 1:
                layers[path] = rebuilt(layer, stored_of(layer), torch.zeros(weight_of(layer).shape[0]))
        return layers

    def _observed(self, network: Network, placement: Placement, inputs: Tensor, found: Sequence[Stream]) -> Observed:
        """One run over the calibration images; lays the network out for it."""
        order_memory(network, torch.channels_last)
        behind = {name for group in placement.groups for name in group}
        once = [calls[0].name for path in placement.integers if len(calls := network.calls(path)) == 1]
        return observe(network, inputs, behind, once if self.bias_correction else (), watched(network, found, behind))

    def _steps(self, network: Network, placement: Placement, seen: Observed, method: str) -> dict[str, Steps]:
        """The bytes of every value behind which bytes are made."""
        found: dict[str, Steps] = {}
        for group in placement.groups:
            joined = Histogram()
            for name in group:
                if not seen.histograms[name].finite:
                    raise PlanError(
                        f"{method}: the value {name!r} is not finite on the calibration images, or has none"
                    )
                joined.merge(seen.histograms[name])
            ends = clipped(joined, self.calibration, self.activations, self.percentile)
            common = steps(*ends, self.activations, self.powers_of_two)
            found |= dict.fromkeys(group, common)
        return {name: found[name] for name in (INPUT, *(node.name for node in network.nodes)) if name in found}

    @torch.no_grad()
    def _weight_scale(self, network: Network, path: str, placement: Placement, bytes_of: dict[str, Steps]) -> Tensor:
        """One scale for each output channel [cout]."""
        layer = network.layer(path)
        rows = weight_of(layer).flatten(1)
        rows = rows.reshape(1, -1) if self.weights == "tensor" else rows
        limit = 2 ** (self.weight_bits - 1) - 1
        scale = rows.abs().amax(1) / limit
        if self.powers_of_two:
            scale = torch.tensor([power_of_two(value) if value > 0 else 0.0 for value in scale.tolist()])
        if self.calibration == "mse":
            # Below a power of two the next candidate is its half.
            parts = (1.0, 0.5) if self.powers_of_two else torch.linspace(1, 1 - 1.6 / self.weight_bits, 9).tolist()
            scale = _least_squares(rows, scale, limit, parts)
        scale = scale.expand(weight_of(layer).shape[0]).clone()
        if isinstance(layer.bias, Tensor):
            least = layer.bias.abs() / (min(_input_steps(network, path, placement, bytes_of)) * _BIAS_STEPS)
            while self.powers_of_two and bool((scale < least).any()):
                scale = torch.where(scale < least, 2 * scale.clamp_min(torch.finfo(torch.float32).tiny), scale)
            scale = torch.maximum(scale, least)
        return torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0).float()


def _input_steps(network: Network, path: str, placement: Placement, bytes_of: dict[str, Steps]) -> list[float]:
    """The steps of all values that a layer reads."""
    sources = [source for call in network.calls(path) for source in placement.origins[call.inputs[0]]]
    return [bytes_of[source].scale for source in sources]


def _rounded_averages(placement: Placement, bytes_of: dict[str, Steps]) -> dict[str, Steps]:
    """The average pools that take bytes and give them: the engine rounds there, and so must the training graph."""
    found = ((name, _common(placement.origins[name], bytes_of)) for name in placement.averages)
    return {name: common for name, common in found if common is not None}


def _common(origins: frozenset[str], bytes_of: dict[str, Steps]) -> Steps | None:
    """What a value's bytes are; None where it is float, or of several kinds of bytes."""
    levels = {bytes_of.get(origin) for origin in origins}
    return levels.pop() if len(levels) == 1 else None


def _layer(network: Network, name: str, found: Steps, placement: Placement, bytes_of: dict[str, Steps]) -> Quantize:
    """The layer behind the value ``name`` that makes its bytes."""
    node = next((node for node in network.nodes if node.name == name), None)
    if node is not None and isinstance(network.layer(node.layer), nn.AdaptiveAvgPool2d):
        source = _common(placement.origins[node.inputs[0]], bytes_of)
        if source is not None:
            pixels = math.prod(network.shapes()[node.inputs[0]][1:])
            return QuantizeMean(found.scale, found.zero, pixels, source.scale)
    return Quantize(found.scale, found.zero)


def _least_squares(rows: Tensor, scale: Tensor, limit: int, fractions: Sequence[float]) -> Tensor:
    """Of these fractions of each row's ``scale``, the one of least squared error."""
    weights, steps_of = rows.numpy(), scale.numpy()
    parts = np.array(fractions, steps_of.dtype)
    errors = np.zeros((len(parts), len(weights)), steps_of.dtype)
    # Some rows at a time, in place: what fits the cache is faster by far. To even on a tie: the error is the same.
    for begin in range(0, len(weights), step := max(1, _CACHED // weights.shape[1])):
        chunk = weights[begin : begin + step]
        rounded = np.empty_like(chunk)
        for number, part in enumerate(parts):
            candidate = np.maximum(steps_of[begin : begin + step, None] * part, np.finfo(np.float32).tiny)
            np.divide(chunk, candidate, out=rounded)
            np.rint(rounded, out=rounded)
            np.clip(rounded, -limit, limit, out=rounded)
            rounded *= candidate
            rounded -= chunk
            errors[number, begin : begin + step] = np.einsum("ij,ij->i", rounded, rounded)
    return scale * torch.from_numpy(parts[errors.argmin(0)])


@torch.no_grad()
def _figures(layer: nn.Module, scale: Tensor, bits: int) -> dict[str, float | int | str]:
    """What the report tells of one layer."""
    weight = weight_of(layer)
    error = float((weight - Integer(scale, bits)(weight)).double().square().sum())
    power = float(weight.double().square().sum())
    figures: dict[str, float | int | str] = {"weights": weight.numel()}
    if error > 0 and power > 0:
        figures["signal to noise, dB"] = round(10 * math.log10(power / error), 2)
    return figures


ENTRY = Entry(
    row="NP4",
    name=_NAME,
    family="precision",
    paper="Jacob, Kligys, Chen, Zhu, Tang et al.: Quantization and Training of Neural Networks for Efficient "
    "Integer-Arithmetic-Only Inference. CVPR 2018.",
    options=Int8,
)
