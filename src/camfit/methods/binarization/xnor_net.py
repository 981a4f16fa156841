"""XNOR-Net. Rastegari et al., ImageNet Classification Using Binary Convolutional Neural Networks, ECCV 2016 (BN4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from camfit.forms import Sign, form_of, weight_of
from camfit.layers import BinaryConv2d, BinaryLinear, pair
from camfit.method import Calibration, Entry
from camfit.methods.selection import weighted_layers
from camfit.network import Network, Node
from camfit.plan import Constrain, Edit, Insert, Plan, Remove, Replace


@dataclass(frozen=True)
class XnorNet:
    """Binary inputs and binary weights: (sign(I) ⊛ sign(W)) ⊙ K·α, in the paper's block order BN, sign, conv, pool.

    Every binarized layer gets a batch-norm in front (unless its input comes out of one), and the batch-norm, activation
    and
    dropout behind it are taken out where the next weighted layer is binarized too. Trained weights, clipped to [-1, 1],
    are the latent ones to start from. Grouped convolutions stay real (the paper has none).

    Attributes:
        keep: layers that stay real, by path. Empty means the paper's policy: the first and the last weighted layer.
        scale_input: multiply by K (the paper's XNOR-Net); off, inputs are plain signs, as its authors' later code has
        it.
    """

    keep: tuple[str, ...] = ()
    scale_input: bool = True

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """Replacements, sign forms and block reordering; calibration is not looked at."""
        layers = weighted_layers(network, "xnor-net", self.keep)
        real = set(self.keep) if self.keep else {next(iter(layers)), list(layers)[-1]} if layers else set()
        chosen = [
            path
            for path, layer in layers.items()
            if path not in real and not (isinstance(layer, nn.Conv2d) and layer.groups > 1)
        ]
        shapes = network.shapes()
        edits: list[Edit] = []
        notes: dict[str, dict[str, float | int | str]] = {}
        removed: set[str] = set()
        for path in chosen:
            for drop in self._tail(network, path, set(chosen)):
                if drop not in removed:
                    removed.add(drop)
                    edits.append(Remove(drop))
        for path in chosen:
            layer = layers[path]
            weight = weight_of(layer).detach()
            edits.append(Replace(path, _binary(layer, self.scale_input)))
            # A form that is there already goes first in the error if the two do not go together.
            edits.append(Constrain(path, Sign(), weight.clamp(-1, 1)))
            source = network.calls(path)[0].inputs[0]
            if not self._normalised(network, source, removed):
                channels = shapes[source][0]
                norm = nn.BatchNorm2d(channels) if len(shapes[source]) == 3 else nn.BatchNorm1d(channels)
                edits.append(Insert(path, f"{path}_norm", norm))
            notes[path] = {"weights": weight.numel(), "alpha": float(weight.abs().mean())}
        return Plan(
            "xnor-net", tuple(edits), f"binarize inputs and weights of {len(chosen)} of {len(layers)} layers", notes
        )

    @staticmethod
    def _tail(network: Network, path: str, binarized: set[str]) -> list[str]:
        """Layers behind ``path`` that the block order drops: all but pools up to the next binarized layer."""
        calls = network.calls(path)
        if len(calls) != 1:
            return []
        found: list[str] = []
        node: Node = calls[0]
        while True:
            readers = network.consumers(node.name)
            if len(readers) != 1 or len(network.calls(readers[0].layer)) != 1:
                return []
            node = readers[0]
            if node.layer in binarized:
                return found
            layer = network.get_submodule(node.layer)
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.ReLU | nn.ReLU6 | nn.Dropout | nn.Dropout2d):
                found.append(node.layer)
            elif not isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.Flatten):
                return []

    @staticmethod
    def _normalised(network: Network, value: str, removed: set[str]) -> bool:
        """True when a batch-norm that stays feeds ``value`` directly: its signs are then centred already."""
        for node in network.nodes:
            if node.name == value:
                layer = network.get_submodule(node.layer)
                return isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) and node.layer not in removed
        return False


def _binary(layer: nn.Module, scale_input: bool) -> nn.Module:
    """The binary twin of a convolution or linear layer, with its weight and bias: the plan depends on nothing else."""
    twin: BinaryConv2d | BinaryLinear
    if isinstance(layer, nn.Conv2d):
        twin = BinaryConv2d(
            layer.in_channels, layer.out_channels, pair(layer.kernel_size), pair(layer.stride), pair(layer.padding),
            pair(layer.dilation), layer.bias is not None, scale_input,
        )  # fmt: skip
    else:
        assert isinstance(layer, nn.Linear)
        twin = BinaryLinear(layer.in_features, layer.out_features, layer.bias is not None, scale_input)
    with torch.no_grad():
        weight_of(twin).copy_(weight_of(layer))
        if layer.bias is not None and twin.bias is not None:
            twin.bias.copy_(layer.bias)
    return twin


def binary_layers(network: Network) -> tuple[str, ...]:
    """Paths of the layers whose weights are signs."""
    return tuple(path for path, layer in network.weighted().items() if isinstance(form_of(layer), Sign))


ENTRY = Entry(
    row="BN4",
    name="xnor-net",
    family="binarization",
    paper="Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net: ImageNet Classification Using Binary Convolutional Neural "
    "Networks. ECCV 2016.",
    options=XnorNet,
)
