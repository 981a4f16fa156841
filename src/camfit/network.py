"""The network as camfit sees it: a list of layer calls over ordinary torch modules.

Every model that enters camfit is traced once into a :class:`Network` (see :mod:`camfit.trace`) and stays one until it
is packed. Nothing in it depends on the code of the original model, so a network can be cut, saved, loaded and resumed
without that code, and a hard-coded ``view(-1, 800)`` in somebody's ``forward`` cannot break surgery.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor, nn

from camfit.errors import ModelError

INPUT = "input"


class Node(msgspec.Struct, frozen=True):
    """One layer call. ``inputs`` names earlier nodes, or ``"input"``; ``layer`` is the module's path."""

    name: str
    layer: str
    inputs: tuple[str, ...]


class Add(nn.Module):
    """Elementwise sum of two tensors of one shape."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Concat(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)


class Network(nn.Module):
    """Layer calls in execution order; the last node's value is the output.

    Args:
        nodes: the calls, each reading only earlier ones.
        layers: module of each path that the nodes name. Paths may be dotted; several nodes may share one.
        input_shape: (channels, height, width) of one image, or (features,) of one vector.
    """

    def __init__(self, nodes: tuple[Node, ...], layers: dict[str, nn.Module], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.nodes = nodes
        self.input_shape = tuple(input_shape)
        known = {INPUT}
        for node in nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing or node.layer not in layers or node.name in known:
                raise ModelError(
                    f"node {node.name!r} (layer {node.layer!r}): inputs {list(node.inputs)} must be earlier nodes, "
                    f"its layer must exist and its name must be new; found unknown inputs {missing}"
                )
            known.add(node.name)
        paths = tuple(dict.fromkeys(node.layer for node in nodes))
        for path in paths:
            inside = next((other for other in paths if other.startswith(f"{path}.")), None)
            if inside is not None:
                raise ModelError(f"layer {inside!r} lies inside layer {path!r}; camfit expects layers side by side")
            self._place(path, layers[path])

    def _place(self, path: str, layer: nn.Module) -> None:
        # Straight into _modules: a model's own names ("layers", "values") must not clash with this class's methods.
        *parents, leaf = path.split(".")
        owner: nn.Module = self
        for name in parents:
            child = owner._modules.setdefault(name, nn.Module())
            assert child is not None
            owner = child
        owner._modules[leaf] = layer

    def get_submodule(self, target: str) -> nn.Module:
        """The module at a dotted path; looked up among the modules alone, so that a layer may be called ``layers``."""
        module: nn.Module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"no module {target!r}")
            module = child
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images [N, C, H, W] (or vectors [N, F]) to outputs."""
        values = {INPUT: x}
        for node in self.nodes:
            values[node.name] = self.get_submodule(node.layer)(*(values[name] for name in node.inputs))
        return values[self.nodes[-1].name]

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Like ``forward``, but returns the value of every node by name, the input included."""
        values = {INPUT: x}
        for node in self.nodes:
            values[node.name] = self.get_submodule(node.layer)(*(values[name] for name in node.inputs))
        return values

    def layer(self, path: str) -> nn.Module:
        """The module at ``path``; a :class:`ModelError` that lists the paths where there is none."""
        if path not in self.layer_paths():
            raise ModelError(f"no layer {path!r}; the network has {', '.join(self.layer_paths())}")
        return self.get_submodule(path)

    def layer_paths(self) -> tuple[str, ...]:
        """Paths of all layers, in order of first execution."""
        return tuple(dict.fromkeys(node.layer for node in self.nodes))

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """(path, module) in order of first execution, shared ones once."""
        for path in self.layer_paths():
            yield path, self.get_submodule(path)

    def weighted(self) -> dict[str, nn.Module]:
        """The convolutions and linear layers by path: the layers that methods compress."""
        return {path: layer for path, layer in self.layers() if isinstance(layer, nn.Conv2d | nn.Linear)}

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the value called ``name``."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def calls(self, path: str) -> tuple[Node, ...]:
        """The nodes that call the layer at ``path``."""
        return tuple(node for node in self.nodes if node.layer == path)

    def clone(self) -> Network:
        """A deep copy that shares nothing with this network."""
        return copy.deepcopy(self)

    def with_nodes(self, nodes: tuple[Node, ...], new_layers: dict[str, nn.Module]) -> Network:
        """The same layers, joined by other nodes; ``new_layers`` adds or replaces modules by path."""
        layers = {
            path: new_layers.get(path) or self.get_submodule(path) for path in dict.fromkeys(n.layer for n in nodes)
        }
        return Network(nodes, layers, self.input_shape).train(self.training)

    @torch.no_grad()
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every value for one image, without the batch dimension."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        like = next(self.parameters(), torch.empty(0))
        try:
            values = self.values(torch.zeros(1, *self.input_shape, device=like.device, dtype=like.dtype))
        finally:
            for module, training in modes:
                module.training = training
        return {name: tuple(value.shape[1:]) for name, value in values.items()}


def order_memory(network: Network, order: torch.memory_format) -> None:
    """Lays four-dimensional weights out in the given order, in place; maps follow the weights.

    Torch's convolutions and pooling on CPUs are faster in ``torch.channels_last``: a training step of LeNet-5,
    ResNet-20 or MobileNet takes 0.6 to 0.65 of the time.
    """
    network.to(memory_format=order)  # type: ignore[call-overload]  # the stubs know no memory format
