"""What an export gives, and how its files are written: each whole or not at all, and nobody else's overwritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from camfit.errors import ExportError
from camfit.storage import write_atomically


@dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
        files: what was written.
        weight_bytes: of the constants of all layers, normalisation included.
        arena_bytes: of the activations; 0 for a format that leaves their place to its runtime.
        layers: bytes of constants by layer, in execution order; a layer that shares another's has its own alone.
    """

    files: tuple[Path, ...]
    weight_bytes: int
    arena_bytes: int = 0
    layers: dict[str, int] = field(default_factory=dict)


def write_files(contents: dict[Path, bytes], mark: bytes, force: bool) -> None:
    """Writes files in this order, each atomically.

    Args:
        contents: by path.
        mark: what the first bytes of an earlier export hold; a file without it belongs to somebody else.
        force: overwrite that, too.

    Raises:
        ExportError: a file of other origin is in the way; nothing has been written.
        RunError: a file cannot be written.
    """
    for path in () if force else contents:
        try:
            with path.open("rb") as file:
                if mark in file.read(256):
                    continue
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ExportError(f"{path}: is in the way: {error.strerror or error}") from error
        raise ExportError(f"{path}: was not written by camfit export; move it away, or overwrite it with --force")
    for path, data in contents.items():
        write_atomically(path, data)
