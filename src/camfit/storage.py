"""Networks and plans as files: one safetensors file each, its description as JSON in the file's metadata. No pickle.

Files appear under their final name only when they are complete (:func:`write_atomically`).
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from camfit.errors import CamfitError, RunError
from camfit.forms import FORMS, Codebook, Form, Hashed, Integer, Masked, Sign, attach, form_of, stored_of
from camfit.layers import build, describe
from camfit.network import Network, Node
from camfit.plan import (
    Append,
    Constrain,
    DropBranch,
    Edit,
    Factorise,
    Insert,
    KeepChannels,
    Plan,
    Remove,
    Replace,
    SetValues,
)  # fmt: skip

_KEY = "camfit"

# Files being written carry this suffix; one that a killed process left behind may be deleted.
TEMPORARY = ".tmp"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that, whatever happens, ``path`` holds either its old content or all of ``data``.

    Raises:
        RunError: the directory cannot be written or the disk is full; the old content stays.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise RunError(f"{path}: cannot write {len(data):,} bytes: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON atomically."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads JSON; a :class:`RunError` names a damaged file."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a readable JSON file ({error})") from error


# -- forms and layers ------------------------------------------------------------------------------------------


def form_parts(form: Form) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(description, arrays) of a form."""
    return {"form": form.name, "origin": form.origin, **form.settings()}, dict(form.state_dict())


def form_from(description: dict[str, Any], arrays: dict[str, Tensor]) -> Form:
    """The form that :func:`form_parts` took apart."""
    name = description["form"]
    form: Form
    if name == Masked.name:
        form = Masked(arrays["mask"])
    elif name == Codebook.name:
        form = Codebook(arrays["index"], description["entries"])
    elif name == Hashed.name:
        shape = tuple(int(size) for size in description["shape"].split(","))
        hashes = description.get("hashes", 2)  # not said by files from before there was a choice
        form = Hashed(shape, description["buckets"], description["seed"], hashes)
    elif name == Sign.name:
        form = Sign()
    elif name == Integer.name:
        form = Integer(arrays["scale"], description["bits"], arrays.get("mask"))
    else:
        raise RunError(f"form {name!r}: expected one of {', '.join(FORMS)}")
    form.origin = description["origin"]
    return form


def _layer_parts(layer: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    kind, arguments = describe(layer)
    description: dict[str, Any] = {"kind": kind, **arguments}
    form = form_of(layer) if hasattr(layer, "weight") else None
    arrays = {name: value for name, value in layer.state_dict().items() if not name.startswith("parametrizations.")}
    if form is not None:
        description["weight"], form_arrays = form_parts(form)
        arrays |= {f"form.{name}": value for name, value in form_arrays.items()}
        arrays["stored"] = stored_of(layer)
    return description, {name: value.detach().contiguous().clone() for name, value in arrays.items()}


def _layer_from(description: dict[str, Any], arrays: dict[str, Tensor]) -> nn.Module:
    arguments = {name: value for name, value in description.items() if name not in ("kind", "weight")}
    layer = build(description["kind"], arguments)
    plain = {name: value for name, value in arrays.items() if name != "stored" and not name.startswith("form.")}
    # Assigned, not copied: the layer takes over the arrays' precision.
    layer.load_state_dict(plain, strict="weight" not in description, assign=True)
    if "weight" in description:
        form_arrays = {name.removeprefix("form."): value for name, value in arrays.items() if name.startswith("form.")}
        attach(layer, form_from(description["weight"], form_arrays), arrays["stored"])
    return layer


def _under(prefix: str, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _at(prefix: str, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


# -- networks --------------------------------------------------------------------------------------------------


def network_bytes(network: Network) -> bytes:
    """The network, forms and all, as the content of a safetensors file."""
    description: dict[str, Any] = {
        "input_shape": network.input_shape,
        "nodes": [[node.name, node.layer, list(node.inputs)] for node in network.nodes],
        "layers": {},
    }
    arrays: dict[str, Tensor] = {}
    for path, layer in network.layers():
        description["layers"][path], layer_arrays = _layer_parts(layer)
        arrays |= _under(path, layer_arrays)
    return _to_bytes("network", description, arrays)


def network_from_bytes(data: bytes, source: str) -> Network:
    """The network in a safetensors file's content; ``source`` names it in errors."""
    description, arrays = _from_bytes("network", data, source)
    with _rebuilding("network", source):
        layers = {path: _layer_from(value, _at(path, arrays)) for path, value in description["layers"].items()}
        nodes = tuple(Node(name, layer, tuple(inputs)) for name, layer, inputs in description["nodes"])
        return Network(nodes, layers, tuple(description["input_shape"])).eval()


def save_network(network: Network, path: Path) -> None:
    """Writes the network atomically."""
    write_atomically(path, network_bytes(network))


def load_network(path: Path) -> Network:
    """Reads a network saved by :func:`save_network`, in evaluation mode."""
    return network_from_bytes(_read(path), str(path))


# -- plans -----------------------------------------------------------------------------------------------------


def plan_parts(plan: Plan) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(description, arrays) of a plan."""
    edits: list[dict[str, Any]] = []
    arrays: dict[str, Tensor] = {}
    for number, edit in enumerate(plan.edits):
        prefix = f"edit{number}"
        if isinstance(edit, KeepChannels):
            edits.append({"edit": "keep_channels", "group": edit.group, "keep": list(edit.keep)})
        elif isinstance(edit, Constrain):
            description, form_arrays = form_parts(edit.form)
            edits.append(
                {"edit": "constrain", "layer": edit.layer, "form": description, "stored": edit.stored is not None}
            )
            arrays |= _under(f"{prefix}/form", form_arrays)
            if edit.stored is not None:
                arrays[f"{prefix}/stored"] = edit.stored
        elif isinstance(edit, Replace):
            layer, layer_arrays = _layer_parts(edit.by)
            edits.append({"edit": "replace", "layer": edit.layer, "by": layer})
            arrays |= _under(prefix, layer_arrays)
        elif isinstance(edit, Factorise):
            factors: list[list[Any]] = []
            for name, factor in edit.factors:
                layer, layer_arrays = _layer_parts(factor)
                factors.append([name, layer])
                arrays |= _under(f"{prefix}/{name}", layer_arrays)
            edits.append({"edit": "factorise", "layer": edit.layer, "factors": factors})
        elif isinstance(edit, Insert):
            layer, layer_arrays = _layer_parts(edit.layer)
            edits.append({"edit": "insert", "before": edit.before, "name": edit.name, "layer": layer})
            arrays |= _under(prefix, layer_arrays)
        elif isinstance(edit, Append):
            layer, layer_arrays = _layer_parts(edit.layer)
            edits.append({"edit": "append", "after": edit.after, "name": edit.name, "layer": layer})
            arrays |= _under(prefix, layer_arrays)
        elif isinstance(edit, Remove):
            edits.append({"edit": "remove", "layer": edit.layer})
        elif isinstance(edit, DropBranch):
            edits.append({"edit": "drop_branch", "join": edit.join, "branch": edit.branch})
        else:
            edits.append({"edit": "set_values", "name": edit.name})
            arrays[f"{prefix}/values"] = edit.values
    description = {"method": plan.method, "reason": plan.reason, "notes": plan.notes, "edits": edits}
    if plan.curves:
        description["curves"] = plan.curves
    return json.loads(json.dumps(description)), {
        name: value.detach().contiguous().clone() for name, value in arrays.items()
    }


def same_plan(a: Plan, b: Plan) -> bool:
    """True when both hold the same edits with bit-equal tensors."""
    return plan_bytes(a) == plan_bytes(b)


def plan_bytes(plan: Plan) -> bytes:
    """The plan as the content of a safetensors file."""
    return _to_bytes("plan", *plan_parts(plan))


def plan_from_bytes(data: bytes, source: str) -> Plan:
    """The plan in a safetensors file's content; ``source`` names it in errors."""
    description, arrays = _from_bytes("plan", data, source)
    with _rebuilding("plan", source):
        edits = tuple(_edit_from(value, f"edit{number}", arrays) for number, value in enumerate(description["edits"]))
        curves = {
            group: tuple((share, loss) for share, loss in points)
            for group, points in description.get("curves", {}).items()
        }
        return Plan(description["method"], edits, description["reason"], description["notes"], curves)


def _edit_from(value: dict[str, Any], prefix: str, arrays: dict[str, Tensor]) -> Edit:
    kind = value["edit"]
    if kind == "keep_channels":
        return KeepChannels(value["group"], tuple(value["keep"]))
    if kind == "constrain":
        form = form_from(value["form"], _at(f"{prefix}/form", arrays))
        return Constrain(value["layer"], form, arrays[f"{prefix}/stored"] if value["stored"] else None)
    if kind == "replace":
        return Replace(value["layer"], _layer_from(value["by"], _at(prefix, arrays)))
    if kind == "factorise":
        factors = ((name, _layer_from(layer, _at(f"{prefix}/{name}", arrays))) for name, layer in value["factors"])
        return Factorise(value["layer"], tuple(factors))
    if kind == "insert":
        return Insert(value["before"], value["name"], _layer_from(value["layer"], _at(prefix, arrays)))
    if kind == "append":
        return Append(value["after"], value["name"], _layer_from(value["layer"], _at(prefix, arrays)))
    if kind == "remove":
        return Remove(value["layer"])
    if kind == "drop_branch":
        return DropBranch(value["join"], value["branch"])
    if kind == "set_values":
        return SetValues(value["name"], arrays[f"{prefix}/values"])
    raise RunError(f"{prefix} is a {kind!r}, which this camfit does not know")


# -- the common container --------------------------------------------------------------------------------------


def _to_bytes(what: str, description: dict[str, Any], arrays: dict[str, Tensor]) -> bytes:
    tensors = {name: value.detach().contiguous().cpu() for name, value in sorted(arrays.items())}
    content = {"what": what, **description}
    metadata = {_KEY: json.dumps({"crc32": _checksum(content, tensors), **content}, sort_keys=True)}
    return safetensors.torch.save(tensors, metadata)


def _from_bytes(what: str, data: bytes, source: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        arrays = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        description = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        checksum = description.pop("crc32")
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{source}: not a {what} saved by camfit ({error})") from error
    if _checksum(description, arrays) != checksum:
        raise RunError(f"{source}: damaged: its content does not have the checksum {checksum!r} that it was saved with")
    if description["what"] != what:
        raise RunError(f"{source}: holds a {description['what']}, expected a {what}")
    return description, {name: value.clone() for name, value in arrays.items()}


def _checksum(description: dict[str, Any], arrays: dict[str, Tensor]) -> int:
    """CRC-32 of the description and of every tensor's name, type, shape and bytes; the container itself has none."""
    crc = zlib.crc32(json.dumps(description, sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), crc)
        crc = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc


@contextmanager
def _rebuilding(what: str, source: str) -> Iterator[None]:
    """A :class:`RunError` for a description that describes nothing, as another version's may."""
    try:
        yield
    except (CamfitError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise RunError(f"{source}: not a {what} that this camfit can rebuild: {why}") from error


def _read(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error


def tensors_bytes(tensors: dict[str, Tensor]) -> bytes:
    """Plain named tensors as the content of a safetensors file."""
    return safetensors.torch.save({name: value.detach().contiguous().cpu() for name, value in sorted(tensors.items())})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads named tensors from a safetensors file."""
    try:
        return safetensors.torch.load(_read(path))
    except safetensors.SafetensorError as error:
        raise RunError(f"{path}: not a readable safetensors file ({error})") from error
