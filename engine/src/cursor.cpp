#include "cursor.h"

namespace camfit {

float load_half(const uint8_t* at) {
  const uint32_t half = load_u16(at);
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  uint32_t bits;
  if (exponent == 0) {
    // Zero or subnormal: fraction · 2^-24, exact in float.
    const float magnitude = float(fraction) * 0x1p-24f;
    std::memcpy(&bits, &magnitude, sizeof bits);
  } else {
    bits = (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
  }
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

bool Cursor::need(size_t count) {
  if (problem_) return false;
  if (size_ - at_ >= count) return true;
  problem_ = "the section ends too early";
  return false;
}

uint8_t Cursor::u8() { return need(1) ? data_[at_++] : uint8_t(0); }

uint32_t Cursor::varint() {
  uint32_t value = 0;
  for (int shift = 0; need(1); shift += 7) {
    const uint8_t byte = data_[at_++];
    if (shift == 28 && byte > 15) {
      problem_ = "a number does not fit in 32 bits";
      return 0;
    }
    value |= uint32_t(byte & 127) << shift;
    if (byte < 128) {
      if (byte != 0 || shift == 0) return value;
      problem_ = "a number is not in its shortest form";
      return 0;
    }
  }
  return 0;
}

float Cursor::f32() {
  const uint8_t* at = bytes(4);
  return at ? load_f32(at) : 0.0f;
}

const uint8_t* Cursor::bytes(size_t count) {
  if (!need(count)) return nullptr;
  const uint8_t* at = data_ + at_;
  at_ += count;
  return at;
}

}  // namespace camfit
