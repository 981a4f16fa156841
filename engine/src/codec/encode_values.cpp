// The writer of codebook values; the reader is codebook_values.cpp.
#include <cstring>

#include "bits.h"
#include "codebook_values.h"
#include "encode_parts.h"

namespace camfit::codec {
namespace {

// The value's bits in its format, which float_to_half has been asked about before.
uint32_t value_bits(float value, bool half) {
  uint32_t bits;
  uint16_t short_bits = 0;
  std::memcpy(&bits, &value, 4);
  return half && float_to_half(value, &short_bits) ? short_bits : bits;
}

// Nothing where the values are not ascending.
std::vector<uint8_t> by_differences(const float* codebook, uint32_t entries, bool half) {
  std::vector<uint8_t> bytes;
  BitWriter writer(&bytes);
  const uint32_t size = half ? 16 : 32, sign = 1u << (size - 1);
  uint32_t last = rank_of(value_bits(codebook[0], half), sign);
  int32_t last_width = static_cast<int32_t>(first_width(half));
  writer.put(last, size);
  for (uint32_t k = 1; k < entries; ++k) {
    const uint32_t rank = rank_of(value_bits(codebook[k], half), sign);
    if (rank < last) return {};
    const int32_t width = static_cast<int32_t>(bit_width(rank - last)), step = width - last_width;
    for (int32_t i = step < 0 ? -2 * step - 1 : 2 * step; i > 0; --i) writer.put(1, 1);
    writer.put(0, 1);
    if (width) writer.put(rank - last, static_cast<uint32_t>(width - 1));
    last_width = width;
    last = rank;
  }
  return bytes;
}

}  // namespace

bool float_to_half(float value, uint16_t* half) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x477ff000) return false;  // 65520 and above rounds to infinity
  uint32_t result;
  if (magnitude < 0x38800000) {  // below 2^-14: a multiple of 2^-24
    const uint32_t exponent = magnitude >> 23, shift = 126 - exponent;
    if (shift > 24) {
      result = 0;
    } else {
      const uint32_t fraction = (magnitude & 0x7fffff) | 0x800000, half_way = 1u << (shift - 1);
      result = fraction >> shift;
      const uint32_t rest = fraction & ((1u << shift) - 1);
      if (rest > half_way || (rest == half_way && (result & 1))) ++result;
    }
  } else {
    result = ((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13) - (112u << 10);
  }
  *half = static_cast<uint16_t>(sign | result);
  return true;
}

bool put_values(const float* codebook, uint32_t entries, bool half, bool may_be_ascending, std::vector<uint8_t>* out) {
  const uint32_t size = half ? 2 : 4;
  std::vector<uint8_t> bytes;
  if (may_be_ascending) bytes = by_differences(codebook, entries, half);
  if (!bytes.empty() && bytes.size() < static_cast<size_t>(entries) * size) {
    out->insert(out->end(), bytes.begin(), bytes.end());
    return true;
  }
  for (uint32_t k = 0; k < entries; ++k) {
    for (uint32_t i = 0; i < size; ++i) out->push_back(static_cast<uint8_t>(value_bits(codebook[k], half) >> 8 * i));
  }
  return false;
}

}  // namespace camfit::codec
