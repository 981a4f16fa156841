"""What the handlers of traced ops ask of a node of an exported graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def where(node: torch.fx.Node) -> str:
    """The module in whose ``forward`` the op stands, for errors."""
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return f"in module {stack[-1]!r}" if stack else "in the model's forward"


def arg(node: torch.fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument by its place or its name."""
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, default)


def copy_values(target: nn.Parameter | Tensor | None, source: Tensor) -> None:
    """Sets a parameter or buffer of a new layer."""
    assert target is not None
    with torch.no_grad():
        target.copy_(source.detach())
