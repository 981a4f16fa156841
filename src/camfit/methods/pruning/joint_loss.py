"""Reconstruction + discrimination: one loss of the weights that read a group's channels.

L(W) = ½·(squared error of the readers' outputs as a share of their power in the whole network) + λ·(the loss of the
next classifier behind them). Zhuang et al., NeurIPS 2018, section 3; there batch-norm keeps the power at about one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from camfit.forms import weight_of
from camfit.graph import ChannelGroup
from camfit.method import Calibration
from camfit.methods.pruning.extra_losses import ExtraLoss
from camfit.methods.pruning.reader_weights import channel_norms, readers_of
from camfit.network import Network, Node

Weights = dict[str, Tensor]
"""The readers' weights by path, dense."""


class JointLoss:
    """The loss of one group's readers, in a network cut so far; what lies in front of them is computed once.

    Args:
        network: dense, in evaluation mode; removed channels are zero in it.
        whole: the values of the network before any cut.
        group: of the network.
        extra: the classifiers at intermediate layers, in execution order.
        calibration: images and labels.
        balance: λ.
        fixed: layers whose weights are selected but keep their values.

    Entries that are zero in the network are pruned, or compute channels that are gone: they stay zero, and outputs that
    all entries of a row make zero need no reconstruction.
    """

    def __init__(
        self,
        network: Network,
        whole: Mapping[str, Tensor],
        group: ChannelGroup,
        extra: Iterable[ExtraLoss],
        calibration: Calibration,
        balance: float,
        fixed: Container[str] = (),
    ) -> None:
        self.network = network
        self.channels = len(group)
        self.read = readers_of(network, group)
        self._balance, self._calibration, self._fixed = balance, calibration, fixed
        self._original = {path: weight_of(network.layer(path)).detach() for path in self.read}
        self._now = network.values(calibration.inputs)
        calls = [node for node in network.nodes if node.layer in self.read]
        self._behind = _dependents(network, calls)
        self._head = self._next(extra, calls)
        last = network.nodes[-1].name if self._head is None else self._head.value
        names = [node.name for node in network.nodes]
        end = max([names.index(last), *(names.index(call.name) for call in calls)])
        self._route = [node for node in network.nodes[: end + 1] if node.name in self._behind]
        self._alive = {path: (weight != 0).flatten(1).any(1) for path, weight in self._original.items()}
        self._targets = {call: whole[call.name][:, self._alive[call.layer]] for call in calls}

    def _next(self, extra: Iterable[ExtraLoss], calls: list[Node]) -> ExtraLoss | None:
        """The first classifier behind every reader; None for the network's own loss."""
        names = [node.name for node in self.network.nodes]
        last = max((names.index(call.name) for call in calls), default=0)
        behind = (loss for loss in extra if names.index(loss.value) >= last and loss.value in self._behind)
        return next(behind, None)

    # -- weights -----------------------------------------------------------------------------------------------

    def weights_of(self, chosen: Tensor) -> Weights:
        """The readers' present weights, zero where they read channels that are not ``chosen`` [channels]."""
        return {path: weight * self._reads(path, chosen, others=True) for path, weight in self._original.items()}

    def joined(self, weights: Weights, channel: int) -> Weights:
        """The same with the weights that read one more channel as the network has them."""
        return {
            path: torch.where(self.read[path] == channel, self._original[path], weight)
            for path, weight in weights.items()
        }

    def of_chosen(self, values: Weights, chosen: Tensor) -> Weights:
        """``values``, zero outside the entries that read chosen channels and may change."""
        return {
            path: torch.zeros_like(value) if path in self._fixed else value * self._reads(path, chosen, others=False)
            for path, value in values.items()
        }

    def norms(self, slopes: Weights) -> Tensor:
        """‖∂L/∂W_k‖_F of each channel [channels]."""
        return channel_norms(slopes, self.read, self.channels)

    def without_channels(self) -> Tensor:
        """‖∂L/∂W_k‖_F of each channel where none is selected yet [channels]."""
        _, slopes = self.with_slopes(self.weights_of(torch.zeros(self.channels, dtype=torch.bool)))
        return self.norms(slopes)

    def _reads(self, path: str, chosen: Tensor, others: bool) -> Tensor:
        """True where an entry reads a chosen channel; ``others`` says what holds for entries that read no channel."""
        return torch.cat([chosen, torch.tensor([others])])[self.read[path]]

    # -- the loss ----------------------------------------------------------------------------------------------

    def with_slopes(self, weights: Weights) -> tuple[float, Weights]:
        """(L, ∂L/∂W by path)."""
        if not weights:
            return 0.0, {}
        with torch.enable_grad():
            free = {path: weight.detach().requires_grad_() for path, weight in weights.items()}
            loss = self._loss(free)
            slopes = torch.autograd.grad(loss, list(free.values()))
        return float(loss.detach()), {
            path: slope * (self._original[path] != 0) for path, slope in zip(free, slopes, strict=True)
        }

    def _loss(self, weights: Weights) -> Tensor:
        values: dict[str, Tensor] = {}
        for node in self._route:
            layer = self.network.get_submodule(node.layer)
            inputs = tuple(values.get(name, self._now[name]) for name in node.inputs)
            if node.layer in weights:
                values[node.name] = functional_call(layer, {"weight": weights[node.layer]}, inputs)
            else:
                values[node.name] = layer(*inputs)
        loss = torch.zeros(())
        for call, target in self._targets.items():
            error = values[call.name][:, self._alive[call.layer]] - target
            loss = loss + error.square().sum() / (2 * target.square().sum().clamp_min(1e-12))
        if self._head is None:
            last = self.network.nodes[-1].name
            outputs = values.get(last, self._now[last])
        else:
            outputs = self._head.outputs(values[self._head.value])
        return loss + self._balance * self._calibration.loss(outputs, self._calibration.targets)


def _dependents(network: Network, calls: Iterable[Node]) -> set[str]:
    """Names of the calls and of all nodes whose values hang on theirs."""
    found = {call.name for call in calls}
    for node in network.nodes:
        if found.intersection(node.inputs):
            found.add(node.name)
    return found
