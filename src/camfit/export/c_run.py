"""The end of an exported source: kernels, structs, the arena, and the functions that run an image."""

from __future__ import annotations

from dataclasses import dataclass

from camfit.export import c_integers as integers
from camfit.export.c_calls import Program, floats_at
from camfit.export.c_constants import float_text
from camfit.export.c_integer_calls import fixed_struct
from camfit.export.c_templates import gather

_RUN = """\
static float arena[{size}];
{work}
static void run_layers(void) {{
{calls}
}}

void {name}_run(const uint8_t *image, float *outputs) {{
  normalise_u8({input});
  run_layers();
  memcpy(outputs, {output}, {macro}_OUTPUT_SIZE * sizeof *outputs);
}}

void {name}_run_f32(const float *image, float *outputs) {{
  normalise_f32({input});
  run_layers();
  memcpy(outputs, {output}, {macro}_OUTPUT_SIZE * sizeof *outputs);
}}
"""

_RUN_INTEGER = """\
static uint8_t arena[{size}];
{work}
static void run_layers(void) {{
{calls}
}}

void {name}_run_fixed(const uint8_t *image, int32_t *outputs) {{
  look_up({table});
  run_layers();
  {to_fixed};
}}

#ifndef {macro}_NO_FLOAT
{kernels}
void {name}_run(const uint8_t *image, float *outputs) {{
  look_up({table});
  run_layers();
  {to_floats};
}}

void {name}_run_f32(const float *image, float *outputs) {{
  quantize_input({input});
  run_layers();
  {to_floats};
}}
#endif
"""


@dataclass(frozen=True)
class RunCode:
    """Text behind the constants; the C library's headers that it wants; of an integer network the binary digits behind
    the point of its fixed-point outputs."""

    code: str
    headers: list[str]
    fraction_bits: int | None = None


def run_code(program: Program, name: str) -> RunCode:
    """The kernels and functions of a network."""
    return _integer_code(program, name) if program.whole else _float_code(program, name)


def _float_code(program: Program, name: str) -> RunCode:
    headers, kernels = gather(["float_arithmetic.h", *program.kernels])
    height, width, channels = program.contents.shapes[0]
    run = _RUN.format(
        size=program.arena_bytes // 4,
        work=_work_space(program),
        calls="\n".join(program.calls),
        name=name,
        macro=name.upper(),
        input=f"{height * width}, {channels}, input_scale, input_shift, image, {floats_at(program.input_at)}",
        output=floats_at(program.output_at),
    )
    return RunCode(_joined([*kernels, "".join(program.constants.structs), run]), headers)


def _integer_code(program: Program, name: str) -> RunCode:
    """Integer kernels first; whatever holds a float behind them, where it can be left out."""
    whole, ops = program.whole, program.contents.ops
    assert whole is not None
    last, level = ops[whole.last], program.levels[whole.first + 1]
    source = program.levels[last.inputs[0]]
    assert level is not None and source is not None
    place, _, result = program.steps[whole.last][-1]
    fixed, bits = fixed_struct(program.constants, whole.last, last, source)
    height, width, channels = program.contents.shapes[whole.last + 1]
    if last.op == "dequantize":
        count, at = height * width * channels, program.bytes_at(place)
        ends = "bytes_to_fixed.c", "dequantize.c"
        to_fixed = f"bytes_to_fixed({count}, {fixed}, {at}, outputs)"
        to_floats = f"dequantize({count}, {float_text(source.scale)}, {source.zero}, {at}, outputs)"
    else:
        at = program.bytes_at(result)
        ends = "sums_to_fixed.c", "sums_to_floats.c"
        to_fixed = f"sums_to_fixed({height * width}, {channels}, {fixed}, {at}, outputs)"
        to_floats = f"sums_to_floats({program.sums_arguments(whole.last)}, {at}, outputs)"
    if whole.softmax:
        to_floats += f";\n  softmax({channels}, outputs, outputs)"
    _, kernels = gather([*program.kernels, "look_up.c", ends[0]])
    floats = ["float_arithmetic.h", "quantize_input.c", ends[1], *(["softmax.c"] if whole.softmax else [])]
    headers, all_kernels = gather([*program.kernels, "look_up.c", ends[0], *floats])

    height, width, channels = program.contents.shapes[0]
    first = program.bytes_at(program.steps[whole.first][-1][2])
    pixels = height * width * channels // program.table_channels
    numbers = f"{float_text(float(integers.inverse(level)))}, {level.zero}"
    run = _RUN_INTEGER.format(
        size=program.arena_bytes,
        work=_work_space(program),
        calls="\n".join(program.calls),
        name=name,
        macro=name.upper(),
        table=f"{pixels}, {program.table_channels}, input_table, image, {first}",
        input=f"{height * width}, {channels}, input_scale, input_shift, {numbers}, image, {first}",
        kernels=_joined(all_kernels[len(kernels) :]),
        to_fixed=to_fixed,
        to_floats=to_floats,
    )
    return RunCode(_joined([*kernels, "".join(program.constants.structs), run]), headers, bits)


def _work_space(program: Program) -> str:
    sums = f"static int32_t sums[{program.sums}];\n" if program.sums else ""
    return sums + (f"static uint8_t rows[{program.rows}];\n" if program.rows else "")


def _joined(parts: list[str]) -> str:
    return "\n".join(part for part in parts if part)
