"""Reads an exported graph op by op.

Each op becomes a call of an ordinary module (``nn.Conv2d``, ``nn.ReLU``, ...), which its handler adds.
Layers with parameters keep their path in the original model, so ``state_dict`` names stay; ops without parameters are
named after themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from camfit.errors import ModelError
from camfit.network import INPUT, Network, Node
from camfit.trace.arguments import where
from camfit.trace.fold import SHUFFLE, Fold

Handler = Callable[["Tracer", torch.fx.Node], None]


class Tracer:
    """Walks one exported graph and collects nodes and layers, which the handlers of the ops add.

    Args:
        handlers: by the op's name.
        views: ops whose result is (or may be) another look at their first argument's memory.
    """

    def __init__(
        self,
        program: ExportedProgram,
        input_shape: tuple[int, ...],
        handlers: Mapping[str, Handler],
        views: Collection[str],
    ) -> None:
        self.program = program
        self.input_shape = input_shape
        self.handlers = handlers
        self.views = views
        signature = program.graph_signature
        self.paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = signature.inputs_to_lifted_tensor_constants
        self.values: dict[torch.fx.Node, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self.layers: dict[str, nn.Module] = {}
        # Half-way through a channel shuffle.
        self.folds: dict[torch.fx.Node, Fold] = {}
        # By split: (first channel, count) of each part.
        self.parts: dict[torch.fx.Node, list[tuple[int, int]]] = {}
        self.keys: dict[str, tuple[Any, ...]] = {}
        # The node that made the memory in which a view lives, and the in-place op that changed a value behind its back.
        self.memory: dict[torch.fx.Node, torch.fx.Node] = {}
        self.stale: dict[torch.fx.Node, torch.fx.Node] = {}

    def network(self) -> Network:
        inputs = [
            n
            for n in self.program.graph.nodes
            if n.op == "placeholder" and n.name in self.program.graph_signature.user_inputs
        ]
        if len(inputs) != 1:
            raise ModelError(f"the model takes {len(inputs)} inputs; camfit expects exactly one image tensor")
        found = tuple(inputs[0].meta["val"].shape)
        if tuple(int(s) if isinstance(s, int) else -1 for s in found[1:]) != self.input_shape:
            raise ModelError(
                f"the model was exported for inputs of shape {list(found[1:])}; the data has {list(self.input_shape)}"
            )
        self.batch = found[0]
        self.values[inputs[0]] = INPUT
        self.shapes[INPUT] = self.input_shape
        output: torch.fx.Node | None = None
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                outputs = [n for n in node.args[0] if isinstance(n, torch.fx.Node)]
                if len(outputs) != 1:
                    raise ModelError(f"the model returns {len(outputs)} values; camfit expects exactly one tensor")
                output = outputs[0]
        if output is None or not self.nodes or self.values.get(output) != self.nodes[-1].name:
            raise ModelError("the model's output is not the value of its last layer")
        return Network(tuple(self.nodes), self.layers, self.input_shape).eval()

    # -- helpers -----------------------------------------------------------------------------------------------

    def _call(self, node: torch.fx.Node) -> None:
        handler = self.handlers.get(str(node.target))
        if handler is None:
            known = ", ".join(sorted(name for name in self.handlers if name.startswith("aten.")))
            raise ModelError(f"unknown op {node.target} {where(node)}; camfit knows {known}")
        handler(self, node)
        if node not in self.values and node not in self.folds:
            return
        source, in_place = node.args[0], str(node.target).rpartition(".")[0].endswith("_")
        if (
            isinstance(source, torch.fx.Node)
            and (in_place or str(node.target) in self.views)
            and not self._copies(node)
        ):
            self.memory[node] = self.memory.get(source, source)
            if in_place:
                self._written(node, source)

    def _copies(self, node: torch.fx.Node) -> bool:
        """Whether what may be a view is none: shuffled channels have memory of their own."""
        source: Any = node.args[0]
        if str(node.target) == "aten.channel_shuffle.default":
            return self.values[node] != self.values[source]
        return source in self.folds and self.folds[source].shuffles and node in self.values

    def _written(self, node: torch.fx.Node, source: torch.fx.Node) -> None:
        """After an in-place op: later readers of the same memory see the new value; another shape of it has no name."""
        old, memory = self.values[source], self.memory[node]
        for fold in [fold for fold in self.folds if self.memory.get(fold) is memory]:
            del self.folds[fold]
            self.stale[fold] = node
        for other, name in list(self.values.items()):
            if other is node or self.memory.get(other, other) is not memory:
                continue
            if name == old:
                self.values[other] = self.values[node]
            else:
                del self.values[other]
                self.stale[other] = node

    def add(
        self,
        node: torch.fx.Node,
        layer: nn.Module,
        inputs: list[Any],
        path: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Appends a call of ``layer``.

        Args:
            path: of a layer with parameters.
            shape: of the call's value, where this is not yet the node's.
        """
        names = tuple(self.value(n, node) for n in inputs)
        layer_path = path if path is not None else self.fresh(node.name)
        self.layers.setdefault(layer_path, layer)
        name = self._fresh_node(layer_path)
        self.nodes.append(Node(name, layer_path, names))
        self.values[node] = name
        self.shapes[name] = shape or tuple(node.meta["val"].shape[1:])

    def same(self, node: torch.fx.Node, source: Any) -> None:
        """The node's value is that of ``source``."""
        self.values[node] = self.value(source, node)

    def value(self, source: Any, user: torch.fx.Node) -> str:
        if isinstance(source, torch.fx.Node) and source in self.values:
            return self.values[source]
        if isinstance(source, torch.fx.Node) and source in self.stale:
            writer = self.stale[source]
            raise ModelError(
                f"{writer.target} {where(writer)} changes in place what {user.target} {where(user)} reads through a "
                "view; camfit expects an op that is not in place"
            )
        if isinstance(source, torch.fx.Node) and source in self.folds:
            raise ModelError(f"{user.target} {where(user)} reads {source}; camfit expects {SHUFFLE}")
        raise ModelError(f"{user.target} {where(user)}: argument {source} is not computed from the input image")

    def tensor(self, source: Any, user: torch.fx.Node) -> Tensor:
        """The parameter, buffer or constant behind a placeholder."""
        if isinstance(source, torch.fx.Node):
            name = self.paths.get(source.name) or self.constants.get(source.name, "")
            found = self.program.state_dict.get(name, self.program.constants.get(name))
            if isinstance(found, Tensor):
                return found
        raise ModelError(f"{user.target} {where(user)}: {source} is computed; camfit expects a parameter there")

    def path(self, weight: Any) -> str:
        """Path of the layer that owns the weight: its name without the last part."""
        full: str = self.paths[weight.name]
        owner = full.rpartition(".")[0]
        # A module with weights of its own around other modules: its layer would contain theirs.
        around = any(p.startswith(f"{owner}.") and "." in p[len(owner) + 1 :] for p in self.paths.values())
        return full if around or not owner else owner

    def layer_path(self, weight: Any, key: tuple[Any, ...], node: torch.fx.Node) -> str:
        """The owner's path; a second path where one owner's weights serve two different layers."""
        base = self.path(weight) if weight.name in self.paths else self.fresh(node.name)
        path, count = base, 1
        while path in self.keys and self.keys[path] != key:
            count += 1
            path = f"{base}_{count}"
        self.keys[path] = key
        return path

    def fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.layers or any(p == name or p.startswith(name + ".") for p in self.paths.values()):
            count += 1
            name = f"{wanted}_{count}"
        return name

    def _fresh_node(self, wanted: str) -> str:
        taken = {n.name for n in self.nodes} | {INPUT}
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}@{count}"
        return name
