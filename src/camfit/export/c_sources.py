"""Packed file -> C sources: the network as constants, just the kernels that it needs, one static arena."""

from __future__ import annotations

import re
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np

from camfit.errors import ExportError
from camfit.export.c_calls import Program, comment
from camfit.export.c_run import run_code
from camfit.export.files import Exported, write_files
from camfit.pack.read import read

MARK = b"Written by camfit export"

_HEADER = """\
{title}
/* Build: cc -std=c99 -O2 -ffp-contract=off -c {name}.c (C99 or later; no library, no heap).
 * Outputs are the bits of camfit's plain kernels where float and double are IEEE 754 and each operation is rounded on
 * its own: FLT_EVAL_METHOD 0, no fast-math, no fused multiply-add. The source asks GCC and clang for that; the option
 * says it to others, too.
 * Bytes: constants {weight_bytes:,}, arena {arena_bytes:,}. Constants by layer:
{table}
 */
#ifndef {macro}_H
#define {macro}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {macro}_EXPORT {stamp}
{sizes}
#define {macro}_ARENA_BYTES {arena_bytes}
#define {macro}_WEIGHT_BYTES {weight_bytes}

/* Runs one image: {macro}_INPUT_SIZE values, height x width x channels with channels fastest, on the raw scale of the
 * data that the network learned from: {pixels}. Normalisation is the network's own.
 * Writes {macro}_OUTPUT_SIZE values in the same order. One caller at a time: all calls share one static arena. */
{functions}
{classes}
#ifdef __cplusplus
}}
#endif
#endif
"""

_FUNCTIONS = """\
void {name}_run(const uint8_t *image, float *outputs);
void {name}_run_f32(const float *image, float *outputs);"""

_INTEGER_FUNCTIONS = """\
#ifndef {macro}_NO_FLOAT
{functions}
#endif

/* The same without a float operation, the outputs {what} as numbers with {macro}_FRACTION_BITS binary digits behind
 * the point: output = number / 2^{macro}_FRACTION_BITS, to a unit.
 * With {macro}_NO_FLOAT defined there is no other function, and no float operation in the source. */
#define {macro}_FRACTION_BITS {bits}
void {name}_run_fixed(const uint8_t *image, int32_t *outputs);"""

_CODE = """\
{title}
#include "{name}.h"

{headers}

#include "{name}_weights.h"

#if {macro}_EXPORT != {stamp} || {macro}_WEIGHTS_EXPORT != {stamp}
#error "{name}.h, {name}_weights.h and this file come from different exports"
#endif

{code}"""


def export_c(file: str | Path | bytes, directory: str | Path, *, name: str = "model", force: bool = False) -> Exported:
    """Writes a packed network as C99 sources without dependencies: ``NAME.h``, ``NAME.c`` and ``NAME_weights.h``.

    Weights stay in their form, as constants: pruned and shared ones as a stream of gaps and codes with a codebook,
    hashed ones as buckets and a seed, signs as bits. Activations live in one static array, planned as by the engine.
    Outputs are those of ``Engine(file, isa="plain")``, bit for bit, for all inputs that lead to finite values.

    Args:
        file: path of a ``.camfit`` file, or its bytes.
        directory: where to write; made if it is missing.
        name: of the files and prefix of everything that they define for others; a C identifier.
        force: overwrite files of these names that camfit has not written.

    Raises:
        FileError: the file cannot be read.
        ExportError: not a name for C, or a file of another origin is in the way.
        RunError: the directory cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ExportError(f"name {name!r}: expected a C identifier: a letter, then letters, digits and underscores")
    program = Program(read(file))
    # The source comes last: with headers of another export it refuses to compile.
    files = {Path(directory) / path: text.encode("ascii") for path, text in _texts(program, name).items()}
    write_files(files, MARK, force)
    layers: dict[str, int] = {}
    for number, op in enumerate(program.contents.ops):
        layers[op.name] = layers.get(op.name, 0) + program.bytes_of(number)
    return Exported(tuple(files), program.weight_bytes, program.static_bytes, layers)


def _texts(program: Program, name: str) -> dict[str, str]:
    """The files' texts by their names."""
    macro = name.upper()
    title = (
        f"/* {MARK.decode()} {version('camfit')} from {comment(Path(program.contents.source).name)}; do not edit. */"
    )
    run = run_code(program, name)
    weights, code = "\n".join(program.constants.arrays), _with_classes(program, name, run.code)
    # The three files of one export know each other by this number.
    stamp = f"0x{zlib.crc32((weights + code).encode()):08x}u"
    system = "\n".join(f"#include <{header}>" for header in sorted({*run.headers, "stdint.h", "string.h"}))
    return {
        f"{name}_weights.h": f"{title}\n#include <stdint.h>\n\n#define {macro}_WEIGHTS_EXPORT {stamp}\n\n{weights}",
        f"{name}.h": _header(program, name, title, stamp, run.fraction_bits),
        f"{name}.c": _CODE.format(title=title, name=name, macro=macro, stamp=stamp, headers=system, code=code),
    }


def _header(program: Program, name: str, title: str, stamp: str, fraction_bits: int | None) -> str:
    macro, contents = name.upper(), program.contents
    rows = [("input", "normalisation", program.bytes_of(None))]
    for number, (op, layer) in enumerate(zip(contents.ops, contents.engine.layers, strict=True)):
        kind = f"{op.op}, {layer['form']}" if layer["form"] else op.op
        rows.append((comment(op.name), kind, program.bytes_of(number)))
    sizes = []
    for what, shape in (("INPUT", contents.shapes[0]), ("OUTPUT", contents.shapes[-1])):
        axes = zip(("HEIGHT", "WIDTH", "CHANNELS", "SIZE"), (*shape, int(np.prod(shape))), strict=True)
        sizes += [f"#define {macro}_{what}_{axis} {size}" for axis, size in axes]
    classes = ""
    if _classes(program):
        classes = (
            f"\n/* Names of the outputs, UTF-8. */\nextern const char *const {name}_classes[{macro}_OUTPUT_SIZE];\n"
        )
    functions = _FUNCTIONS.format(name=name)
    if program.whole:
        what = "before the soft-max" if program.whole.softmax else "themselves"
        functions = _INTEGER_FUNCTIONS.format(
            name=name, macro=macro, functions=functions, what=what, bits=fraction_bits
        )
    floats = contents.info.get("pixels") == "float32"
    return _HEADER.format(
        title=title,
        name=name,
        macro=macro,
        stamp=stamp,
        weight_bytes=program.weight_bytes,
        arena_bytes=program.static_bytes,
        table="\n".join(f" *   {layer:<24} {kind:<28} {size:>10,}" for layer, kind, size in rows),
        sizes="\n".join(sizes),
        pixels=f"float pixels in 0..1 for images, so use {name}_run_f32" if floats else "bytes, 0..255",
        functions=functions,
        classes=classes,
    )


def _with_classes(program: Program, name: str, code: str) -> str:
    """The source behind its includes."""
    if classes := _classes(program):
        names = "\n".join(f"    {_string(label)}," for label in classes)
        code += f"\nconst char *const {name}_classes[{name.upper()}_OUTPUT_SIZE] = {{\n{names}\n}};\n"
    return code


def _classes(program: Program) -> list[str]:
    """Names of the outputs, where the file has one for each."""
    classes = program.contents.info.get("classes")
    if not isinstance(classes, list) or program.contents.shapes[-1] != (1, 1, len(classes)):
        return []
    return [str(label) for label in classes]


def _string(text: str) -> str:
    """A string of C, in its UTF-8 bytes."""
    plain = re.compile(rb"[A-Za-z0-9_ .,:;+*/()&%#<>=@-]")
    return '"' + "".join(chr(b) if plain.fullmatch(bytes([b])) else f"\\{b:03o}" for b in text.encode()) + '"'
