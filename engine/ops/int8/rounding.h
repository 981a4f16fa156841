// The arithmetic of int8.h for one sum, shared by the plain kernels and the tails of the others.
#pragma once
#include "../plain.h"
#include "int8.h"

namespace camfit {
namespace {

inline int clamp_to(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

inline uint8_t requantize_one(int32_t sum, const Requantize& to, int32_t bias, int32_t multiplier, int32_t shift) {
  const int64_t product = (int64_t(sum) + bias) * multiplier;
  const int rounded = int((product + (int64_t(1) << (shift - 1))) >> shift);
  return uint8_t(clamp_to(to.zero + rounded, to.low, to.high));
}

// Output channel `channel` of the pixel at `at` (in elements of the output).
inline void store_one(int32_t sum, const Requantize& to, int channel, void* out, size_t at) {
  if (to.multiplier) {
    static_cast<uint8_t*>(out)[at] =
        requantize_one(sum, to, to.bias[channel], to.multiplier[channel], to.shift[channel]);
  } else {
    static_cast<float*>(out)[at] =
        plain::activate(float(sum + to.bias[channel]) * to.scale[channel], to.activation);
  }
}

inline uint8_t quantize_one(float x, float inverse, int zero) {
  const float level = __builtin_floorf(x * inverse + 0.5f) + float(zero);
  return level > 0.0f ? level < 255.0f ? uint8_t(level) : uint8_t(255) : uint8_t(0);
}

}  // namespace
}  // namespace camfit
