"""Which channels of a network must be cut together, by name; ``coupling.py`` finds them."""

from camfit.graph.graph import Graph
from camfit.graph.groups import ChannelGroup, Dimension, Frozen, Slot

__all__ = ["ChannelGroup", "Dimension", "Frozen", "Graph", "Slot"]
