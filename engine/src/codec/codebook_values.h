// The values of a codebook as a payload stores them (docs/format.md).
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit::codec {

// A value's place in the order of all values of its format, as in the order of real numbers; -0 is below +0.
inline uint32_t rank_of(uint32_t bits, uint32_t sign) { return bits & sign ? (sign | (sign - 1)) - bits : bits + sign; }
inline uint32_t bits_at(uint32_t rank, uint32_t sign) { return rank & sign ? rank - sign : (sign | (sign - 1)) - rank; }

// A codebook in ascending order is stored by the differences of ranks. A difference has its bit width before it, as a
// step from the width of the last difference; these are the widths that the first step starts from.
constexpr uint32_t first_width(bool half) { return half ? 8 : 21; }

float half_to_float(uint16_t half);

// Reads `entries` values into `values`, which may be null, and moves *data behind them. False if they are malformed.
bool read_values(const uint8_t** data, const uint8_t* end, uint32_t entries, bool half, bool ascending, float* values);

}  // namespace camfit::codec
