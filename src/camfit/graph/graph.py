"""Which channels of a network must be cut together, by name; :mod:`camfit.graph.coupling` finds them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from camfit.errors import PlanError
from camfit.graph.coupling import couple
from camfit.graph.groups import ChannelGroup, Dimension, Frozen, Slot
from camfit.network import Network

__all__ = ["ChannelGroup", "Dimension", "Frozen", "Graph", "Slot"]


@dataclass(frozen=True)
class Graph:
    """Shapes and channel groups of one network. It describes the network that it was made of, not one cut since.

    Attributes:
        shapes: shape of every value for one image, by node name, the input included.
        groups: what can be cut, in execution order.
        frozen: by layer path, why (some of) its output channels belong to no group.
    """

    shapes: MappingProxyType[str, tuple[int, ...]]
    groups: tuple[ChannelGroup, ...]
    frozen: MappingProxyType[str, Frozen]

    @staticmethod
    def of(network: Network) -> Graph:
        """Finds the groups. The network stays as it is.

        Raises:
            ModelError: the network holds a layer that camfit does not know, or does not run.
        """
        groups, frozen = couple(network, shapes := network.shapes())
        return Graph(MappingProxyType(shapes), groups, MappingProxyType(frozen))

    @property
    def frozen_reasons(self) -> dict[str, str]:
        """By layer path, a sentence that says why its output channels (or some of them) cannot be cut."""
        return {path: frozen.reason for path, frozen in self.frozen.items()}

    def group(self, name: str) -> ChannelGroup:
        """The group called ``name``.

        Raises:
            PlanError: there is none; says why its layer is frozen, or lists all groups.
        """
        for group in self.groups:
            if group.name == name:
                return group
        if name in self.frozen:
            raise PlanError(f"no channel group {name!r}: {self.frozen[name].reason}")
        known = ", ".join(repr(group.name) for group in self.groups) or "none"
        raise PlanError(f"no channel group {name!r}; the network has {known}")

    def groups_of(self, layer: str) -> tuple[ChannelGroup, ...]:
        """The groups that cut output channels of ``layer``."""
        return tuple(group for group in self.groups if any(slot.layer == layer for slot in group.producers))

    def __str__(self) -> str:
        frozen = [f"frozen {path!r}: {reason}" for path, reason in self.frozen_reasons.items()]
        return "\n".join([*map(str, self.groups), *frozen])
