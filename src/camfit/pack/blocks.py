"""Depth to space behind a convolution, as the engine is fastest at it: what it moves lies side by side.

A :class:`~camfit.network.DepthToSpace` takes the places of a block from neighbouring channels, as torch does; the
engine takes whole pixels, one place of the block after the other. Where a convolution makes the channels for it alone,
its filters are put in that order, and what stands behind and looks at single values (batch-norm, activations, bytes)
goes between the two, where the convolution takes it in.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from camfit.forms import Hashed, attach, form_of, stored_of
from camfit.layers import Quantize
from camfit.network import DepthToSpace, Network, Node

_ELEMENTWISE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Dropout, nn.Dropout2d, Quantize)


class BlocksFirst(DepthToSpace):
    """The same of channels [block height, block width, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(1, (self.block[0] * self.block[1], -1)).transpose(1, 2).flatten(1, 2))


def blocks_first(network: Network) -> Network:
    """An equal network with :class:`BlocksFirst` wherever a convolution alone feeds depth to space."""
    for name in [node.name for node in network.nodes]:
        nodes = {node.name: node for node in network.nodes}
        node = nodes[name]
        layer = network.get_submodule(node.layer)
        if isinstance(layer, DepthToSpace):
            conv = nodes.get(node.inputs[0])
            if conv is not None and _alone(network, conv) and len(network.calls(node.layer)) == 1:
                network = _reordered(network, conv, node, layer)
    return network


def _alone(network: Network, conv: Node) -> bool:
    """Whether it is a convolution, called once and read once, whose filters may change places."""
    layer = network.get_submodule(conv.layer)
    if not isinstance(layer, nn.Conv2d) or layer.groups > 1 or isinstance(form_of(layer), Hashed):
        return False
    return len(network.calls(conv.layer)) == len(network.consumers(conv.name)) == 1 and conv is not network.nodes[-1]


@torch.no_grad()
def _reordered(network: Network, conv: Node, node: Node, pixels: DepthToSpace) -> Network:
    places = pixels.block[0] * pixels.block[1]
    behind: list[Node] = []
    while len(readers := network.consumers((behind or [node])[-1].name)) == 1:
        layer = network.get_submodule(readers[0].layer)
        if not isinstance(layer, _ELEMENTWISE) or len(network.calls(readers[0].layer)) > 1:
            break
        behind.append(readers[0])
    new: dict[str, nn.Module] = {node.layer: BlocksFirst(pixels.block, pixels.crop)}
    new[conv.layer] = _rows_by_place(network.get_submodule(conv.layer), places)
    for each in behind:
        layer = network.get_submodule(each.layer)
        if isinstance(layer, nn.BatchNorm2d):
            new[each.layer] = _repeated(layer, places)
    end = (behind or [node])[-1].name
    source = {node.name: conv.name, end: node.name}
    nodes = []
    for each in network.nodes:
        if each is node:
            continue
        inputs = tuple(source.get(name, name) for name in each.inputs)
        if each in behind:
            inputs = (conv.name,) if each is behind[0] else each.inputs
        nodes.append(Node(each.name, each.layer, inputs))
        if each.name == (end if behind else conv.name):
            nodes.append(Node(node.name, node.layer, (each.name,)))
    return network.with_nodes(tuple(nodes), new)


def _rows_by_place(layer: nn.Module, places: int) -> nn.Conv2d:
    """The convolution with its outputs in the order [places, C]."""
    assert isinstance(layer, nn.Conv2d)
    rows = torch.arange(layer.out_channels).reshape(-1, places).T.flatten()
    twin, form, stored = copy.deepcopy(layer), form_of(layer), stored_of(layer).detach()
    if form is None:
        stored = stored[rows]
    else:
        form, stored = form.keep(stored, 0, rows)
    attach(twin, form, stored)
    if layer.bias is not None:
        twin.bias = nn.Parameter(layer.bias[rows])
    return twin


def _repeated(norm: nn.BatchNorm2d, times: int) -> nn.BatchNorm2d:
    twin = nn.BatchNorm2d(norm.num_features * times, eps=norm.eps)
    twin.load_state_dict(
        {name: value.repeat(times) if value.dim() else value for name, value in norm.state_dict().items()}
    )
    return twin.eval()
