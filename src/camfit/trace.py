"""From any PyTorch model to a :class:`~camfit.network.Network`, through ``torch.export``.

The exported graph is read op by op; each op becomes a call of an ordinary module (``nn.Conv2d``, ``nn.ReLU``, ...).
Layers with parameters keep their path in the original model, so ``state_dict`` names stay; ops without parameters are
named after themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from camfit.errors import ModelError
from camfit.layers import pair
from camfit.network import INPUT, Add, Concat, Network, Node

_BATCH = 2  # any number but 1, so that a reshape of the batch dimension is told from one of the channels


def trace(model: nn.Module | ExportedProgram, input_shape: tuple[int, ...]) -> Network:
    """Traces a model.

    Args:
        model: any module that ``torch.export`` accepts, or an exported program (whose example batch size must not be 1
            when it flattens by a fixed ``view``).
        input_shape: (channels, height, width), or (features,), of one input.

    Returns:
        A network in evaluation mode whose outputs equal the model's.

    Raises:
        ModelError: an op that camfit does not know (named, with its place in the source), a wrong input shape, or a
            model that cannot be exported.
    """
    if isinstance(model, Network):
        return model.clone()
    if isinstance(model, ExportedProgram):
        program = model
    else:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            example = torch.zeros(_BATCH, *input_shape)
            with torch.no_grad():
                model(example)
            program = torch.export.export(model, (example,))
        except Exception as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"model {type(model).__name__} cannot be traced on input {list(input_shape)}: {first_line}"
            ) from error
        finally:
            for module, training in modes:
                module.training = training
    return _Tracer(program, tuple(input_shape)).network()


def load_exported(path: Path) -> ExportedProgram:
    """Reads a ``.pt2`` file saved by ``torch.export.save``."""
    try:
        return torch.export.load(path)
    except Exception as error:
        raise ModelError(
            f"{path}: not a .pt2 file that torch {torch.__version__} can load ({type(error).__name__}: {error})"
        ) from error


class _Tracer:
    """Walks one exported graph and collects nodes and layers."""

    def __init__(self, program: ExportedProgram, input_shape: tuple[int, ...]) -> None:
        self.program = program
        self.input_shape = input_shape
        signature = program.graph_signature
        self.paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = signature.inputs_to_lifted_tensor_constants
        self.values: dict[torch.fx.Node, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self.layers: dict[str, nn.Module] = {}
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
        handler = _HANDLERS.get(str(node.target))
        if handler is None:
            raise ModelError(f"unknown op {node.target} {_where(node)}; camfit knows {', '.join(sorted(_HANDLERS))}")
        handler(self, node)
        if node not in self.values:
            return
        source, in_place = node.args[0], str(node.target).split(".")[1].endswith("_")
        if isinstance(source, torch.fx.Node) and (in_place or str(node.target) in _VIEWS):
            self.memory[node] = self.memory.get(source, source)
            if in_place:
                self._written(node, source)

    def _written(self, node: torch.fx.Node, source: torch.fx.Node) -> None:
        """After an in-place op: later readers of the same memory see the new value; another shape of it has no name."""
        old, memory = self.values[source], self.memory[node]
        for other, name in list(self.values.items()):
            if other is node or self.memory.get(other, other) is not memory:
                continue
            if name == old:
                self.values[other] = self.values[node]
            else:
                del self.values[other]
                self.stale[other] = node

    def add(self, node: torch.fx.Node, layer: nn.Module, inputs: list[Any], path: str | None = None) -> None:
        """Appends a call of ``layer``; ``path`` is given for layers with parameters."""
        names = tuple(self.value(n, node) for n in inputs)
        layer_path = path if path is not None else self._fresh(node.name)
        self.layers.setdefault(layer_path, layer)
        name = self._fresh_node(layer_path)
        self.nodes.append(Node(name, layer_path, names))
        self.values[node] = name
        self.shapes[name] = tuple(node.meta["val"].shape[1:])

    def same(self, node: torch.fx.Node, source: Any) -> None:
        """The node's value is that of ``source``."""
        self.values[node] = self.value(source, node)

    def value(self, source: Any, user: torch.fx.Node) -> str:
        if isinstance(source, torch.fx.Node) and source in self.values:
            return self.values[source]
        if isinstance(source, torch.fx.Node) and source in self.stale:
            writer = self.stale[source]
            raise ModelError(
                f"{writer.target} {_where(writer)} changes in place what {user.target} {_where(user)} reads through a "
                "view; camfit expects an op that is not in place"
            )
        raise ModelError(f"{user.target} {_where(user)}: argument {source} is not computed from the input image")

    def tensor(self, source: Any, user: torch.fx.Node) -> Tensor:
        """The parameter, buffer or constant behind a placeholder."""
        if isinstance(source, torch.fx.Node):
            name = self.paths.get(source.name) or self.constants.get(source.name, "")
            found = self.program.state_dict.get(name, self.program.constants.get(name))
            if isinstance(found, Tensor):
                return found
        raise ModelError(f"{user.target} {_where(user)}: {source} is computed; camfit expects a parameter there")

    def path(self, weight: Any) -> str:
        """Path of the layer that owns the weight: its name without the last part."""
        full: str = self.paths[weight.name]
        owner = full.rpartition(".")[0]
        # A module with weights of its own around other modules: its layer would contain theirs.
        around = any(p.startswith(f"{owner}.") and "." in p[len(owner) + 1 :] for p in self.paths.values())
        return full if around or not owner else owner

    def layer_path(self, weight: Any, key: tuple[Any, ...], node: torch.fx.Node) -> str:
        """The owner's path; a second path where one owner's weights serve two different layers."""
        base = self.path(weight) if weight.name in self.paths else self._fresh(node.name)
        path, count = base, 1
        while path in self.keys and self.keys[path] != key:
            count += 1
            path = f"{base}_{count}"
        self.keys[path] = key
        return path

    def _fresh(self, wanted: str) -> str:
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


def _where(node: torch.fx.Node) -> str:
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return f"in module {stack[-1]!r}" if stack else "in the model's forward"


def _arg(node: torch.fx.Node, index: int, name: str, default: Any = None) -> Any:
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, default)


def _copy(target: nn.Parameter | Tensor | None, source: Tensor) -> None:
    assert target is not None
    with torch.no_grad():
        target.copy_(source.detach())


def _conv2d(t: _Tracer, node: torch.fx.Node) -> None:
    x, weight = node.args[0], t.tensor(node.args[1], node)
    bias_arg = _arg(node, 2, "bias")
    stride, dilation = pair(_arg(node, 3, "stride", 1)), pair(_arg(node, 5, "dilation", 1))
    padding, groups = _arg(node, 4, "padding", 0), _arg(node, 6, "groups", 1)
    cout, cin_per_group, kh, kw = weight.shape
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, (kh, kw), strict=True)]
        if any(span % 2 for span in spans):
            raise ModelError(
                f"convolution {_where(node)}: padding 'same' with kernel {kh}x{kw} is uneven; "
                "camfit expects the same on both sides"
            )
        padding = (spans[0] // 2, spans[1] // 2)
    layer = nn.Conv2d(
        cin_per_group * groups, cout, (kh, kw), stride, pair(padding), dilation, groups, bias_arg is not None
    )
    _copy(layer.weight, weight)
    if bias_arg is not None:
        _copy(layer.bias, t.tensor(bias_arg, node))
    key = ("conv", str(node.args[1]), str(bias_arg), stride, layer.padding, dilation, groups)
    path = t.layer_path(node.args[1], key, node)
    t.add(node, layer, [x], path)


def _linear(t: _Tracer, node: torch.fx.Node) -> None:
    x, weight, bias_arg = node.args[0], t.tensor(node.args[1], node), _arg(node, 2, "bias")
    if len(t.shapes[t.value(x, node)]) != 1:
        raise ModelError(
            f"linear {_where(node)}: input of shape {list(t.shapes[t.value(x, node)])}; camfit expects a flat vector"
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias_arg is not None)
    _copy(layer.weight, weight)
    if bias_arg is not None:
        _copy(layer.bias, t.tensor(bias_arg, node))
    t.add(node, layer, [x], t.layer_path(node.args[1], ("linear", str(node.args[1]), str(bias_arg)), node))


def _batch_norm(t: _Tracer, node: torch.fx.Node) -> None:
    x, weight, bias, mean, var = node.args[:5]
    eps, momentum = float(_arg(node, 7, "eps", 1e-5)), float(_arg(node, 6, "momentum", 0.1))
    running_mean = t.tensor(mean, node)
    layer: nn.BatchNorm2d | nn.BatchNorm1d
    kind = nn.BatchNorm2d if len(t.shapes[t.value(x, node)]) == 3 else nn.BatchNorm1d
    layer = kind(running_mean.shape[0], eps=eps, momentum=momentum)
    _copy(layer.running_mean, running_mean)
    _copy(layer.running_var, t.tensor(var, node))
    if weight is not None:
        _copy(layer.weight, t.tensor(weight, node))
    if bias is not None:
        _copy(layer.bias, t.tensor(bias, node))
    t.add(node, layer, [x], t.layer_path(mean, ("batch_norm", *map(str, (mean, var, weight, bias)), eps), node))


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Callable[[_Tracer, torch.fx.Node], None]:
    def handler(t: _Tracer, node: torch.fx.Node) -> None:
        kernel = pair(node.args[1])
        stride = pair(_arg(node, 2, "stride") or kernel)
        padding = pair(_arg(node, 3, "padding", 0))
        if kind is nn.MaxPool2d:
            if pair(_arg(node, 4, "dilation", 1)) != (1, 1):
                raise ModelError(f"max pooling {_where(node)}: dilation {node.args[4]}; camfit expects 1")
            layer: nn.Module = nn.MaxPool2d(kernel, stride, padding, ceil_mode=bool(_arg(node, 5, "ceil_mode", False)))
        else:
            if _arg(node, 6, "divisor_override") is not None:
                raise ModelError(f"average pooling {_where(node)}: a divisor of its own; camfit expects none")
            layer = nn.AvgPool2d(
                kernel,
                stride,
                padding,
                bool(_arg(node, 4, "ceil_mode", False)),
                bool(_arg(node, 5, "count_include_pad", True)),
            )
        t.add(node, layer, [node.args[0]])

    return handler


def _adaptive_avg_pool(t: _Tracer, node: torch.fx.Node) -> None:
    size, shape = pair(node.args[1]), t.shapes[t.value(node.args[0], node)]
    if size == (1, 1):
        t.add(node, nn.AdaptiveAvgPool2d(1), [node.args[0]])
    elif shape[1] % size[0] == 0 and shape[2] % size[1] == 0:
        t.add(node, nn.AvgPool2d((shape[1] // size[0], shape[2] // size[1])), [node.args[0]])
    else:
        raise ModelError(
            f"adaptive pooling {_where(node)}: {list(shape[1:])} to {list(size)}; camfit expects an even division"
        )


def _mean(t: _Tracer, node: torch.fx.Node) -> None:
    axes: Any = node.args[1]
    dims = sorted(axis % (len(t.shapes[t.value(node.args[0], node)]) + 1) for axis in axes)
    if dims != [2, 3]:
        raise ModelError(f"mean {_where(node)} over dimensions {dims}; camfit expects height and width ([2, 3])")
    t.add(node, nn.AdaptiveAvgPool2d(1), [node.args[0]])
    if not _arg(node, 2, "keepdim", False):
        t.add(node, nn.Flatten(1), [node], t._fresh(f"{node.name}_flatten"))


def _reshape(t: _Tracer, node: torch.fx.Node) -> None:
    source = node.args[0]
    old, new = t.shapes[t.value(source, node)], tuple(node.meta["val"].shape)
    if new[0] == t.batch and tuple(new[1:]) == old:
        t.same(node, source)
    elif new[0] == t.batch and len(new) == 2:
        t.add(node, nn.Flatten(1), [source])
    else:
        raise ModelError(
            f"{node.target} {_where(node)}: {list(old)} to {list(new[1:])}; "
            "camfit expects flattening to a vector per image"
        )


def _add(t: _Tracer, node: torch.fx.Node) -> None:
    a, b = node.args[:2]
    if _arg(node, 2, "alpha", 1) != 1 or not isinstance(b, torch.fx.Node):
        raise ModelError(f"add {_where(node)}: camfit expects the plain sum of two layers' outputs")
    first, second = t.shapes[t.value(a, node)], t.shapes[t.value(b, node)]
    if first != second:
        raise ModelError(f"add {_where(node)}: shapes {list(first)} and {list(second)}; camfit expects equal ones")
    t.add(node, Add(), [a, b])


def _cat(t: _Tracer, node: torch.fx.Node) -> None:
    rank = len(node.meta["val"].shape)
    if _arg(node, 1, "dim", 0) % rank != 1:
        raise ModelError(
            f"concatenation {_where(node)} along dimension {_arg(node, 1, 'dim', 0)}; camfit expects the channels (1)"
        )
    t.add(node, Concat(), list(node.args[0]))  # type: ignore[arg-type]


def _clamp(low_name: str, high_name: str) -> Callable[[_Tracer, torch.fx.Node], None]:
    def handler(t: _Tracer, node: torch.fx.Node) -> None:
        low, high = _arg(node, 1, low_name), _arg(node, 2, high_name)
        if (low, high) != (0, 6):
            raise ModelError(f"clamp {_where(node)} to [{low}, {high}]; camfit expects [0, 6] (ReLU6)")
        t.add(node, nn.ReLU6(), [node.args[0]])

    return handler


def _softmax(t: _Tracer, node: torch.fx.Node) -> None:
    shape = t.shapes[t.value(node.args[0], node)]
    if len(shape) != 1 or _arg(node, 1, "dim", -1) % 2 != 1:
        raise ModelError(
            f"soft-max {_where(node)} over dimension {node.args[1]} of {list(shape)}; camfit expects a vector's"
        )
    t.add(node, nn.Softmax(1), [node.args[0]])


def _plain(build: Callable[[torch.fx.Node], nn.Module]) -> Callable[[_Tracer, torch.fx.Node], None]:
    return lambda t, node: t.add(node, build(node), [node.args[0]])


def _identity(t: _Tracer, node: torch.fx.Node) -> None:
    t.same(node, node.args[0])


def _ignore(t: _Tracer, node: torch.fx.Node) -> None:
    """Checks that the exporter inserted; they hold no value."""


_HANDLERS: dict[str, Callable[[_Tracer, torch.fx.Node], None]] = {
    "aten.conv2d.default": _conv2d,
    "aten.conv2d.padding": _conv2d,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.relu.default": _plain(lambda n: nn.ReLU()),
    "aten.relu_.default": _plain(lambda n: nn.ReLU()),
    "aten.relu6.default": _plain(lambda n: nn.ReLU6()),
    "aten.hardtanh.default": _clamp("min_val", "max_val"),
    "aten.hardtanh_.default": _clamp("min_val", "max_val"),
    "aten.clamp.default": _clamp("min", "max"),
    "aten.clamp_.default": _clamp("min", "max"),
    "aten.max_pool2d.default": _pool(nn.MaxPool2d),
    "aten.avg_pool2d.default": _pool(nn.AvgPool2d),
    "aten.adaptive_avg_pool2d.default": _adaptive_avg_pool,
    "aten.mean.dim": _mean,
    "aten.flatten.using_ints": _reshape,
    "aten.view.default": _reshape,
    "aten.reshape.default": _reshape,
    "aten.squeeze.dims": _reshape,
    "aten.add.Tensor": _add,
    "aten.add_.Tensor": _add,
    "aten.cat.default": _cat,
    "aten.concat.default": _cat,
    "aten.softmax.int": _softmax,
    "aten.dropout.default": _plain(lambda n: nn.Dropout(float(n.args[1]))),  # type: ignore[arg-type]
    "aten.dropout_.default": _plain(lambda n: nn.Dropout(float(n.args[1]))),  # type: ignore[arg-type]
    "aten.feature_dropout.default": _plain(lambda n: nn.Dropout2d(float(n.args[1]))),  # type: ignore[arg-type]
    "aten.clone.default": _identity,
    "aten.contiguous.default": _identity,
    "aten.alias.default": _identity,
    "aten.detach.default": _identity,
    "aten._assert_tensor_metadata.default": _ignore,
}

# Ops whose result is (or may be) another look at their first argument's memory.
_VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        "flatten.using_ints", "view.default", "reshape.default", "squeeze.dims", "contiguous.default", "alias.default",
        "detach.default", "dropout.default", "feature_dropout.default",
    )
)  # fmt: skip
