"""Packed file -> ONNX file."""

from __future__ import annotations

from pathlib import Path

from camfit.export.files import Exported, write_files
from camfit.pack.onnx import contents_to_onnx
from camfit.pack.read import read

# How every model of camfit begins: the IR version, then the producer's name.
MARK = b"\x12\x06camfit"


def export_onnx(file: str | Path | bytes, path: str | Path, *, force: bool = False) -> Exported:
    """Writes a packed network as an ONNX model, its normalisation included; weights of any form become dense floats.

    The model's ``input`` takes raw images, float32 [N, C, H, W]; its ``output`` is what the engine gives, to rounding,
    with channels before height and width.

    Args:
        file: path of a ``.camfit`` file, or its bytes.
        path: the file to write, by custom ``NAME.onnx``.
        force: overwrite a file of this name that camfit has not written.

    Raises:
        FileError: the file cannot be read.
        ModelError: the package ``onnx`` is missing.
        ExportError: a file of another origin is in the way.
        RunError: the file cannot be written.
    """
    contents = read(file)
    data = contents_to_onnx(contents)
    sizes: dict[str, int] = {}
    for op in contents.ops:
        size = sum(4 * weight.values.numel() for weight in op.weights if weight is not None)
        sizes[op.name] = sizes.get(op.name, 0) + size
    write_files({Path(path): data}, MARK, force)
    return Exported((Path(path),), sum(sizes.values()), layers=sizes)
