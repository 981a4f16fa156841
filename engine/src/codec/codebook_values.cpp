#include "codebook_values.h"

#include <cstring>

#include "bits.h"

namespace camfit::codec {
namespace {

float value_of(uint32_t bits, bool half) {
  if (half) return half_to_float(static_cast<uint16_t>(bits));
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

uint32_t take_long(BitReader* reader, uint32_t count) {  // count <= 32
  const uint32_t high = count > 16 ? reader->take(count - 16) : 0;
  return high << 16 | reader->take(count > 16 ? 16 : count);
}

bool read_ascending(const uint8_t** data, const uint8_t* end, uint32_t entries, bool half, float* values) {
  BitReader reader(*data, end);
  const uint32_t value_bits = half ? 16 : 32, sign = 1u << (value_bits - 1);
  uint64_t rank = take_long(&reader, value_bits);
  uint32_t width = first_width(half);
  if (values) values[0] = value_of(bits_at(static_cast<uint32_t>(rank), sign), half);
  for (uint32_t k = 1; k < entries; ++k) {
    uint32_t step = 0;  // 0, -1, +1, -2, +2, ... in unary
    while (reader.take(1)) {
      if (++step > 2 * value_bits) return false;
    }
    width += step & 1 ? 0u - (step + 1) / 2 : step / 2;
    if (width > value_bits) return false;  // also where it fell below 0
    if (width) rank += uint64_t{1} << (width - 1) | take_long(&reader, width - 1);
    if (reader.overrun() || rank >> value_bits) return false;
    if (values) values[k] = value_of(bits_at(static_cast<uint32_t>(rank), sign), half);
  }
  if (!reader.align()) return false;
  *data += reader.tell() / 8;
  return true;
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 31, fraction = half & 1023, bits;
  if (exponent == 31) {
    bits = sign | 0x7f800000u | fraction << 13;
  } else if (exponent != 0) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else if (fraction == 0) {
    bits = sign;
  } else {  // subnormal: shift the leading one into place
    exponent = 113;
    while (!(fraction & 1024)) {
      fraction <<= 1;
      --exponent;
    }
    bits = sign | exponent << 23 | (fraction & 1023) << 13;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

bool read_values(const uint8_t** data, const uint8_t* end, uint32_t entries, bool half, bool ascending, float* values) {
  if (ascending) return read_ascending(data, end, entries, half, values);
  const uint32_t bytes = half ? 2 : 4;
  if (static_cast<size_t>(end - *data) < static_cast<size_t>(entries) * bytes) return false;
  for (uint32_t k = 0; k < entries; ++k) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < bytes; ++i) bits |= static_cast<uint32_t>(*(*data)++) << 8 * i;
    if (values) values[k] = value_of(bits, half);
  }
  return true;
}

}  // namespace camfit::codec
