"""Makes a plan's edits on a copy of a network, each with its checks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

import torch
from torch import nn

from camfit.errors import ModelError, PlanError
from camfit.forms import Form, Masked, Sign, attach, form_of, stored_of
from camfit.graph import ChannelGroup, Graph
from camfit.layers import BinaryConv2d, BinaryLinear, kind_of
from camfit.network import INPUT, Network
from camfit.plan import (
    Append,
    Constrain,
    DropBranch,
    Factorise,
    Insert,
    KeepChannels,
    Plan,
    Remove,
    Replace,
    SetValues,
)  # fmt: skip
from camfit.surgery.branches import without_branch
from camfit.surgery.cut import cut
from camfit.surgery.fitting import check_form, keeps_mask, widths
from camfit.surgery.rewire import appended, chained, inserted, removed

T = TypeVar("T")

_VALUES = ("weight", "bias", "running_mean", "running_var")


def apply(network: Network, plan: Plan) -> Network:
    """A new network with the plan's edits made, in order. The given one stays bit-identical.

    Raises:
        PlanError: the plan does not fit the network, or two edits contradict each other; names both.
    """
    return _Surgeon(network, plan).operate()


def check(network: Network, plan: Plan) -> None:
    """Raises the :class:`PlanError` that :func:`apply` would raise; changes nothing."""
    apply(network, plan)


class _Surgeon:
    """Makes one plan's edits on a copy of one network."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self.plan = plan
        self.network = network.clone()
        self.output = self._output("the network does not run even before the plan")
        self.like = next(self.network.parameters(), torch.empty(0))
        # Numbers of the edits made so far, by the layer, value or group that they touched.
        self.touched: dict[str, list[int]] = {}

    def operate(self) -> Network:
        number = 0
        while number < len(self.plan.edits):
            edit = self.plan.edits[number]
            if isinstance(edit, KeepChannels):
                stop = number
                while stop < len(self.plan.edits) and isinstance(self.plan.edits[stop], KeepChannels):
                    stop += 1
                self._keep_channels(range(number, stop))
                number = stop
                continue
            if isinstance(edit, Constrain):
                self._constrain(number, edit)
            elif isinstance(edit, Replace):
                self._replace(number, edit)
            elif isinstance(edit, Factorise):
                self._factorise(number, edit)
            elif isinstance(edit, Insert):
                self._insert(number, edit)
            elif isinstance(edit, Append):
                self._append(number, edit)
            elif isinstance(edit, Remove):
                self._remove(number, edit)
            elif isinstance(edit, DropBranch):
                self._drop_branch(number, edit)
            else:
                self._set_values(number, edit)
            number += 1
        self._finish()
        return self.network

    # -- errors ------------------------------------------------------------------------------------------------

    def _error(self, number: int, why: str, *layers: str | None) -> PlanError:
        """The error of one edit; names the plan's earlier edits on these layers, if any."""
        earlier = sorted(
            {n for layer in layers if layer is not None for n in self.touched.get(layer, []) if n < number}
        )
        after = f" (after edit {earlier[-1] + 1}: {self.plan.edits[earlier[-1]]})" if earlier else ""
        return PlanError(f"{self.plan.method}, edit {number + 1} ({self.plan.edits[number]}){after}: {why}")

    def _touch(self, number: int, *names: str) -> None:
        for name in names:
            self.touched.setdefault(name, []).append(number)

    def _layer(self, number: int, path: str) -> nn.Module:
        try:
            return self.network.layer(path)
        except ModelError as error:
            raise self._error(number, str(error), path) from error

    def _output(self, otherwise: str) -> tuple[int, ...]:
        """Shape of the network's output."""
        return self._try(self.network.shapes, otherwise)[self.network.nodes[-1].name]

    def _try(self, run: Callable[[], T], otherwise: str) -> T:
        """Looks at the network; where it cannot run, a PlanError that says ``otherwise`` and why."""
        try:
            return run()
        except (ModelError, RuntimeError, ValueError, TypeError, IndexError) as error:
            raise PlanError(f"{self.plan.method}: {otherwise}: {str(error).splitlines()[0]}") from error

    # -- the edits ---------------------------------------------------------------------------------------------

    def _keep_channels(self, numbers: Iterable[int]) -> None:
        """Several groups at once: no edit moves another group's channels. Those kept stay in their order."""
        graph = self._try(lambda: Graph.of(self.network), "the network does not run when its channels are to be cut")
        removals: list[tuple[ChannelGroup, tuple[int, ...]]] = []
        for number in numbers:
            edit = self.plan.edits[number]
            assert isinstance(edit, KeepChannels)
            if f"group {edit.group}" in self.touched:
                why = "one plan may cut a group once; join the two edits into one"
                raise self._error(number, why, f"group {edit.group}")
            try:
                group = graph.group(edit.group)
            except PlanError as error:
                cause = graph.frozen[edit.group].cause if edit.group in graph.frozen else None
                raise self._error(number, str(error), edit.group, cause) from error
            keep = edit.keep
            if not keep:
                raise self._error(number, f"nothing would remain of {len(group)} channels; expected at least one")
            if len(set(keep)) != len(keep):
                twice = next(channel for channel in keep if keep.count(channel) > 1)
                raise self._error(number, f"channel {twice} is listed twice; expected each at most once")
            if min(keep) < 0 or max(keep) >= len(group):
                wrong = min(keep) if min(keep) < 0 else max(keep)
                raise self._error(number, f"no channel {wrong}; the group has channels 0 to {len(group) - 1}")
            kept = set(keep)
            removals.append((group, tuple(channel for channel in range(len(group)) if channel not in kept)))
            self._touch(number, f"group {edit.group}", *dict.fromkeys(slot.layer for slot in group.slots))
        cut(self.network, removals)

    def _constrain(self, number: int, edit: Constrain) -> None:
        layer = self._layer(number, edit.layer)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise self._error(number, f"{kind_of(layer)} has no weight that could take a form", edit.layer)
        form, earlier = copy.deepcopy(edit.form), form_of(layer)
        form.origin = self.plan.method
        binary = isinstance(layer, BinaryConv2d | BinaryLinear)
        if binary and not isinstance(form, Sign):
            origin = f" ({earlier.origin})" if earlier is not None and earlier.origin else ""
            raise self._error(number, f"the layer is binary{origin}: its weight must stay in form sign", edit.layer)
        if isinstance(form, Sign) and isinstance(earlier, Sign):
            raise self._error(
                number, f"its weight is binary already ({earlier.origin or 'an earlier edit'})", edit.layer
            )
        weight, present = layer.weight.detach(), stored_of(layer)
        form = form.to(weight.device)
        try:
            stored = (present if edit.stored is None else edit.stored).detach().to(present)
            form, stored = form.after(earlier, stored)
            check_form(form, stored, weight)
        except PlanError as error:
            raise self._error(number, str(error), edit.layer) from error
        except (RuntimeError, IndexError) as error:
            why = f"the form does not fit a weight of shape {list(weight.shape)}: {str(error).splitlines()[0]}"
            raise self._error(number, why, edit.layer) from error
        attach(layer, form, stored)
        self._touch(number, edit.layer)

    def _replace(self, number: int, edit: Replace) -> None:
        old = self._layer(number, edit.layer)
        self._known(number, edit.by)
        for earlier in self.touched.get(edit.layer, []):
            if isinstance(self.plan.edits[earlier], Replace):
                raise self._error(number, "one plan may replace a layer once", edit.layer)
        form = form_of(old) if isinstance(old, nn.Conv2d | nn.Linear) else None
        if form is not None and not keeps_mask(form, edit.by):
            raise self._discards(number, form, edit.layer)
        if isinstance(old, BinaryConv2d | BinaryLinear):
            raise self._error(number, "the layer is binary already", edit.layer)
        self._same_width(number, edit.layer, edit.by, old, "input")
        self._same_width(number, edit.layer, edit.by, old, "output")
        self.network = self.network.with_nodes(self.network.nodes, {edit.layer: self._copy(edit.by)})
        self._touch(number, edit.layer)

    def _factorise(self, number: int, edit: Factorise) -> None:
        old = self._layer(number, edit.layer)
        if not edit.factors:
            raise self._error(number, "it names no factors; expected at least one", edit.layer)
        for _, factor in edit.factors:
            self._known(number, factor)
        form = form_of(old) if isinstance(old, nn.Conv2d | nn.Linear) else None
        if form is not None:
            raise self._discards(number, form, edit.layer)
        calls = self.network.calls(edit.layer)
        if len(calls[0].inputs) != 1:
            raise self._error(number, f"the layer has {len(calls[0].inputs)} inputs; expected one", edit.layer)
        self._same_width(number, edit.layer, edit.factors[0][1], old, "input")
        self._same_width(number, edit.layer, edit.factors[-1][1], old, "output")
        layers = {f"{edit.layer}.{name}": self._copy(factor) for name, factor in edit.factors}
        if len(layers) < len(edit.factors) or not all(name and "." not in name for name, _ in edit.factors):
            names = ", ".join(repr(name) for name, _ in edit.factors)
            raise self._error(number, f"the factors are called {names}; expected different names without dots")
        self.network = self.network.with_nodes(chained(self.network.nodes, edit.layer, tuple(layers)), layers)
        self._touch(number, edit.layer, *layers)

    def _insert(self, number: int, edit: Insert) -> None:
        self._layer(number, edit.before)
        self._known(number, edit.layer)
        calls = self.network.calls(edit.before)
        if len(calls[0].inputs) != 1:
            raise self._error(
                number, f"layer {edit.before!r} has {len(calls[0].inputs)} inputs; expected one", edit.before
            )
        self._new_name(number, edit.name)
        nodes = inserted(self.network.nodes, edit.name, edit.before)
        self.network = self.network.with_nodes(nodes, {edit.name: self._copy(edit.layer)})
        self._touch(number, edit.name, edit.before)

    def _append(self, number: int, edit: Append) -> None:
        self._known(number, edit.layer)
        calls = {node.name: node.layer for node in self.network.nodes}
        if edit.after != INPUT and edit.after not in calls:
            raise self._error(number, f"no call {edit.after!r}; the network has {', '.join(calls)}", edit.after)
        self._new_name(number, edit.name)
        nodes = appended(self.network.nodes, edit.name, edit.after)
        self.network = self.network.with_nodes(nodes, {edit.name: self._copy(edit.layer)})
        self._touch(number, edit.name, calls.get(edit.after, INPUT))

    def _remove(self, number: int, edit: Remove) -> None:
        self._layer(number, edit.layer)
        inputs = max(len(call.inputs) for call in self.network.calls(edit.layer))
        if inputs != 1:
            raise self._error(number, f"the layer has {inputs} inputs; expected one", edit.layer)
        nodes = removed(self.network.nodes, edit.layer)
        if not nodes:
            raise self._error(number, "no layer would remain", edit.layer)
        self.network = self.network.with_nodes(nodes, {})
        self._touch(number, edit.layer)

    def _drop_branch(self, number: int, edit: DropBranch) -> None:
        layers = {node.name: node.layer for node in self.network.nodes}
        before = set(self.network.layer_paths())
        try:
            self.network = without_branch(self.network, edit.join, edit.branch)
        except PlanError as error:
            raise self._error(number, str(error), edit.join) from error
        gone = before - set(self.network.layer_paths())
        self._touch(
            number, *dict.fromkeys((edit.join, layers[edit.join])), *sorted(gone - {edit.join, layers[edit.join]})
        )

    def _set_values(self, number: int, edit: SetValues) -> None:
        path, _, leaf = edit.name.rpartition(".")
        layer = self._layer(number, path)
        if f"values {edit.name}" in self.touched:
            raise self._error(number, "one plan may set a tensor once", f"values {edit.name}")
        target = dict(layer.named_buffers(recurse=False)) | dict(layer.named_parameters(recurse=False))
        form = form_of(layer) if leaf == "weight" and isinstance(layer, nn.Conv2d | nn.Linear) else None
        if form is not None:
            target["weight"] = stored_of(layer)
        if leaf not in _VALUES or target.get(leaf) is None:
            raise self._error(number, f"layer {path!r} ({kind_of(layer)}) has no values {leaf!r}", path)
        if form is not None and not isinstance(form, Masked):
            raise self._error(
                number, f"the weight lives in form {form.name} ({form.origin or 'an earlier edit'})", path
            )
        values = edit.values.detach().to(target[leaf])
        if values.shape != target[leaf].shape:
            why = f"values of shape {list(values.shape)}, expected {list(target[leaf].shape)}"
            raise self._error(number, why, path)
        if not bool(values.isfinite().all()):
            raise self._error(number, "some values are not finite", path)
        if isinstance(form, Masked) and bool(values[~form.mask].any()):
            count = int((values[~form.mask] != 0).sum())
            why = f"it would revive {count} weights pruned by {form.origin or 'an earlier edit'}"
            raise self._error(number, why, path)
        with torch.no_grad():
            target[leaf].copy_(values)
        self._touch(number, path, f"values {edit.name}")

    def _finish(self) -> None:
        for path, layer in self.network.layers():
            if isinstance(layer, BinaryConv2d | BinaryLinear) and not isinstance(form_of(layer), Sign):
                raise PlanError(
                    f"{self.plan.method}: layer {path!r} is {kind_of(layer)} but its weight is not in form sign; "
                    "expected an edit that constrains it"
                )
        output = self._output("after its edits the network does not run")
        if output != self.output:
            found, expected = list(output), list(self.output)
            raise PlanError(f"{self.plan.method}: the network's output would be {found}, expected {expected} as before")

    # -- helpers -----------------------------------------------------------------------------------------------

    def _new_name(self, number: int, name: str) -> None:
        """Raises PlanError unless a layer of this name can join."""
        paths = {*self.network.layer_paths(), *(node.name for node in self.network.nodes), INPUT}
        if any(p == name or p.startswith(f"{name}.") or name.startswith(f"{p}.") for p in paths):
            raise self._error(number, f"the name {name!r} is taken", name)
        if not name or not all(name.split(".")):
            raise self._error(number, f"{name!r} is no path; expected names joined by dots")

    def _discards(self, number: int, form: Form, layer: str) -> PlanError:
        """The error of an edit that would lose the form of a layer's weight."""
        origin = form.origin or "an earlier edit"
        return self._error(number, f"it would discard the form {form.name} ({origin}) of the layer's weight", layer)

    def _same_width(
        self, number: int, path: str, new: nn.Module, old: nn.Module, side: Literal["input", "output"]
    ) -> None:
        """Raises PlanError where both layers fix their channels on this side, and differ."""
        place = 0 if side == "input" else 1
        for found, present in zip(widths(new)[place : place + 1], widths(old)[place : place + 1], strict=False):
            if found != present:
                raise self._error(number, f"the new layer has {found} {side} channels, the old one {present}", path)

    def _known(self, number: int, layer: nn.Module) -> None:
        try:
            kind_of(layer)
        except ModelError as error:
            raise self._error(number, str(error)) from error

    def _copy(self, layer: nn.Module) -> nn.Module:
        """The plan's layer is data: the network gets a copy, in its own precision and on its own device."""
        return copy.deepcopy(layer).to(device=self.like.device, dtype=self.like.dtype).train(self.network.training)
