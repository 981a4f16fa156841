"""The network that must compute what a cut one computes: the same shapes, with zeros for what is removed."""

from __future__ import annotations

from camfit.errors import PlanError
from camfit.forms import Sign, form_of
from camfit.graph import ChannelGroup, Graph
from camfit.layers import BinaryConv2d, BinaryLinear
from camfit.network import Network
from camfit.plan import KeepChannels, Plan
from camfit.surgery.cut import blank
from camfit.surgery.surgeon import apply


def masked(network: Network, plan: Plan) -> Network:
    """A new network of the same shapes in which the channels that the plan removes are zero instead.

    Their producers' weights, biases and batch-norm values (scale, shift, running mean) are zeroed. In evaluation it
    computes the same function as ``apply(network, plan)``.

    Raises:
        PlanError: the plan holds other edits than ``KeepChannels``; or a removed channel feeds a binary layer or a sign
            weight, for which a zero is not an absence (sign(0) = +1, and α is a mean over all inputs).
    """
    apply(network, plan)
    result, graph = network.clone(), Graph.of(network)
    removals: list[tuple[ChannelGroup, tuple[int, ...]]] = []
    for edit in plan:
        if not isinstance(edit, KeepChannels):
            raise PlanError(f"{plan.method} ({edit}): only channels that are removed can be masked instead")
        group = graph.group(edit.group)
        gone = [channel for channel in range(len(group)) if channel not in set(edit.keep)]
        for slot in group.consumers if gone else ():
            layer = result.layer(slot.layer)
            if isinstance(layer, BinaryConv2d | BinaryLinear) or isinstance(form_of(layer), Sign):
                raise PlanError(
                    f"{plan.method} ({edit}): layer {slot.layer!r} reads signs or has sign weights; "
                    "a zeroed channel is not an absent one there"
                )
        removals.append((group, tuple(gone)))
    blank(result, removals)
    return result
