"""What each op of an exported graph becomes: a handler adds a layer that computes the same, or says what it expects."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from camfit.errors import ModelError
from camfit.layers import pair
from camfit.network import Add, Concat
from camfit.trace.arguments import arg, copy_values, where
from camfit.trace.shuffle import channel_shuffle, reshape, transpose
from camfit.trace.split import narrow, pick, slice_, split
from camfit.trace.tracer import Handler, Tracer
from camfit.trace.transposed import conv_transpose2d, pixel_shuffle


def _conv2d(t: Tracer, node: torch.fx.Node) -> None:
    x, weight = node.args[0], t.tensor(node.args[1], node)
    bias_arg = arg(node, 2, "bias")
    stride, dilation = pair(arg(node, 3, "stride", 1)), pair(arg(node, 5, "dilation", 1))
    padding, groups = arg(node, 4, "padding", 0), arg(node, 6, "groups", 1)
    cout, cin_per_group, kh, kw = weight.shape
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, (kh, kw), strict=True)]
        if any(span % 2 for span in spans):
            raise ModelError(
                f"convolution {where(node)}: padding 'same' with kernel {kh}x{kw} is uneven; "
                "camfit expects the same on both sides"
            )
        padding = (spans[0] // 2, spans[1] // 2)
    layer = nn.Conv2d(
        cin_per_group * groups, cout, (kh, kw), stride, pair(padding), dilation, groups, bias_arg is not None
    )
    copy_values(layer.weight, weight)
    if bias_arg is not None:
        copy_values(layer.bias, t.tensor(bias_arg, node))
    key = ("conv", str(node.args[1]), str(bias_arg), stride, layer.padding, dilation, groups)
    path = t.layer_path(node.args[1], key, node)
    t.add(node, layer, [x], path)


def _linear(t: Tracer, node: torch.fx.Node) -> None:
    x, weight, bias_arg = node.args[0], t.tensor(node.args[1], node), arg(node, 2, "bias")
    if len(t.shapes[t.value(x, node)]) != 1:
        raise ModelError(
            f"linear {where(node)}: input of shape {list(t.shapes[t.value(x, node)])}; camfit expects a flat vector"
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias_arg is not None)
    copy_values(layer.weight, weight)
    if bias_arg is not None:
        copy_values(layer.bias, t.tensor(bias_arg, node))
    t.add(node, layer, [x], t.layer_path(node.args[1], ("linear", str(node.args[1]), str(bias_arg)), node))


def _batch_norm(t: Tracer, node: torch.fx.Node) -> None:
    x, weight, bias, mean, var = node.args[:5]
    eps, momentum = float(arg(node, 7, "eps", 1e-5)), float(arg(node, 6, "momentum", 0.1))
    running_mean = t.tensor(mean, node)
    layer: nn.BatchNorm2d | nn.BatchNorm1d
    kind = nn.BatchNorm2d if len(t.shapes[t.value(x, node)]) == 3 else nn.BatchNorm1d
    layer = kind(running_mean.shape[0], eps=eps, momentum=momentum)
    copy_values(layer.running_mean, running_mean)
    copy_values(layer.running_var, t.tensor(var, node))
    if weight is not None:
        copy_values(layer.weight, t.tensor(weight, node))
    if bias is not None:
        copy_values(layer.bias, t.tensor(bias, node))
    t.add(node, layer, [x], t.layer_path(mean, ("batch_norm", *map(str, (mean, var, weight, bias)), eps), node))


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Handler:
    def handler(t: Tracer, node: torch.fx.Node) -> None:
        kernel = pair(node.args[1])
        stride = pair(arg(node, 2, "stride") or kernel)
        padding = pair(arg(node, 3, "padding", 0))
        if kind is nn.MaxPool2d:
            if pair(arg(node, 4, "dilation", 1)) != (1, 1):
                raise ModelError(f"max pooling {where(node)}: dilation {node.args[4]}; camfit expects 1")
            layer: nn.Module = nn.MaxPool2d(kernel, stride, padding, ceil_mode=bool(arg(node, 5, "ceil_mode", False)))
        else:
            if arg(node, 6, "divisor_override") is not None:
                raise ModelError(f"average pooling {where(node)}: a divisor of its own; camfit expects none")
            layer = nn.AvgPool2d(
                kernel,
                stride,
                padding,
                bool(arg(node, 4, "ceil_mode", False)),
                bool(arg(node, 5, "count_include_pad", True)),
            )
        t.add(node, layer, [node.args[0]])

    return handler


def _adaptive_avg_pool(t: Tracer, node: torch.fx.Node) -> None:
    size, shape = pair(node.args[1]), t.shapes[t.value(node.args[0], node)]
    if size == shape[1:]:
        t.same(node, node.args[0])
    elif size == (1, 1):
        t.add(node, nn.AdaptiveAvgPool2d(1), [node.args[0]])
    elif shape[1] % size[0] == 0 and shape[2] % size[1] == 0:
        t.add(node, nn.AvgPool2d((shape[1] // size[0], shape[2] // size[1])), [node.args[0]])
    else:
        raise ModelError(
            f"adaptive pooling {where(node)}: {list(shape[1:])} to {list(size)}; camfit expects an even division"
        )


def _mean(t: Tracer, node: torch.fx.Node) -> None:
    axes: Any = node.args[1]
    dims = sorted(axis % (len(t.shapes[t.value(node.args[0], node)]) + 1) for axis in axes)
    if dims != [2, 3]:
        raise ModelError(f"mean {where(node)} over dimensions {dims}; camfit expects height and width ([2, 3])")
    t.add(node, nn.AdaptiveAvgPool2d(1), [node.args[0]])
    if not arg(node, 2, "keepdim", False):
        t.add(node, nn.Flatten(1), [node], t.fresh(f"{node.name}_flatten"))


def _add(t: Tracer, node: torch.fx.Node) -> None:
    a, b = node.args[:2]
    if arg(node, 2, "alpha", 1) != 1 or not isinstance(b, torch.fx.Node):
        raise ModelError(f"add {where(node)}: camfit expects the plain sum of two layers' outputs")
    first, second = t.shapes[t.value(a, node)], t.shapes[t.value(b, node)]
    if first != second:
        raise ModelError(f"add {where(node)}: shapes {list(first)} and {list(second)}; camfit expects equal ones")
    t.add(node, Add(), [a, b])


def _cat(t: Tracer, node: torch.fx.Node) -> None:
    rank = len(node.meta["val"].shape)
    if arg(node, 1, "dim", 0) % rank != 1:
        raise ModelError(
            f"concatenation {where(node)} along dimension {arg(node, 1, 'dim', 0)}; camfit expects the channels (1)"
        )
    t.add(node, Concat(), list(node.args[0]))  # type: ignore[arg-type]


def _clamp(low_name: str, high_name: str) -> Handler:
    def handler(t: Tracer, node: torch.fx.Node) -> None:
        low, high = arg(node, 1, low_name), arg(node, 2, high_name)
        if (low, high) != (0, 6):
            raise ModelError(f"clamp {where(node)} to [{low}, {high}]; camfit expects [0, 6] (ReLU6)")
        t.add(node, nn.ReLU6(), [node.args[0]])

    return handler


def _softmax(t: Tracer, node: torch.fx.Node) -> None:
    shape = t.shapes[t.value(node.args[0], node)]
    if len(shape) != 1 or arg(node, 1, "dim", -1) % 2 != 1:
        raise ModelError(
            f"soft-max {where(node)} over dimension {node.args[1]} of {list(shape)}; camfit expects a vector's"
        )
    t.add(node, nn.Softmax(1), [node.args[0]])


def _plain(build: Callable[[torch.fx.Node], nn.Module]) -> Handler:
    return lambda t, node: t.add(node, build(node), [node.args[0]])


def _identity(t: Tracer, node: torch.fx.Node) -> None:
    source = node.args[0]
    if isinstance(source, torch.fx.Node) and source in t.folds:
        t.folds[node] = t.folds[source]
    else:
        t.same(node, source)


def _ignore(t: Tracer, node: torch.fx.Node) -> None:
    """Checks that the exporter inserted; they hold no value."""


HANDLERS: dict[str, Handler] = {
    "aten.conv2d.default": _conv2d,
    "aten.conv2d.padding": _conv2d,
    "aten.conv_transpose2d.input": conv_transpose2d,
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
    "aten.flatten.using_ints": reshape,
    "aten.view.default": reshape,
    "aten.reshape.default": reshape,
    "aten.squeeze.dims": reshape,
    "aten.unflatten.int": reshape,
    "aten.transpose.int": transpose,
    "aten.swapaxes.default": transpose,
    "aten.permute.default": transpose,
    "aten.channel_shuffle.default": channel_shuffle,
    "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.split.Tensor": split,
    "aten.split_with_sizes.default": split,
    "aten.chunk.default": split,
    "aten.tensor_split.sections": split,
    str(operator.getitem): pick,
    "aten.narrow.default": narrow,
    "aten.slice.Tensor": slice_,
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

# Of each the result is (or may be) another look at the first argument's memory.
VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        "flatten.using_ints", "view.default", "reshape.default", "squeeze.dims", "contiguous.default", "alias.default",
        "detach.default", "dropout.default", "feature_dropout.default", "unflatten.int", "transpose.int",
        "swapaxes.default", "permute.default", "channel_shuffle.default", "narrow.default",
        "slice.Tensor",
    )
)  # fmt: skip
