// Eight sums to eight outputs, with NEON.
#pragma once
#include <arm_neon.h>
#include <string.h>

#include "rounding.h"

namespace camfit {
namespace {

// (sum + bias) * multiplier / 2^shift of four channels, rounded half up: so SRSHL rounds, exactly, by negative counts.
inline int32x4_t rounded4(int32x4_t sum, const Requantize& to, size_t c) {
  const int32x4_t total = vaddq_s32(sum, vld1q_s32(to.bias + c)), multiplier = vld1q_s32(to.multiplier + c);
  const int32x4_t count = vnegq_s32(vld1q_s32(to.shift + c));
  const int64x2_t low = vmull_s32(vget_low_s32(total), vget_low_s32(multiplier));
  const int64x2_t high = vmull_high_s32(total, multiplier);
  return vcombine_s32(vmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(count)))),
                      vmovn_s64(vrshlq_s64(high, vmovl_high_s32(count))));
}

// Narrowing saturates, which the bounds, 0 to 255, make right.
inline uint8x8_t requantize8(int32x4_t low, int32x4_t high, const Requantize& to, size_t c) {
  const int16x8_t rounded = vcombine_s16(vqmovn_s32(rounded4(low, to, c)), vqmovn_s32(rounded4(high, to, c + 4)));
  const uint8x8_t level = vqmovun_s16(vqaddq_s16(rounded, vdupq_n_s16(int16_t(to.zero))));
  return vmin_u8(vmax_u8(level, vdup_n_u8(uint8_t(to.low))), vdup_n_u8(uint8_t(to.high)));
}

// As plain::activate, of which a -0 comes back as it is.
inline float32x4_t float4(int32x4_t sum, const Requantize& to, size_t c) {
  const float32x4_t zero = vdupq_n_f32(0.0f), six = vdupq_n_f32(6.0f);
  float32x4_t y = vmulq_f32(vcvtq_f32_s32(vaddq_s32(sum, vld1q_s32(to.bias + c))), vld1q_f32(to.scale + c));
  if (to.activation == Activation::kNone) return y;
  y = vbslq_f32(vcltq_f32(y, zero), zero, y);
  return to.activation == Activation::kRelu6 ? vbslq_f32(vcgtq_f32(y, six), six, y) : y;
}

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

// Channels c..c+7, or as many of them as `count` says if that is less, of a pixel.
inline void store8(const Target& target, int32x4_t low, int32x4_t high, size_t c, int count, size_t pixel) {
  const size_t at = pixel * target.channels + c;
  if (target.to.multiplier) {
    uint8_t* out = static_cast<uint8_t*>(target.out) + at;
    const uint8x8_t bytes = requantize8(low, high, target.to, c);
    if (count >= 8) return vst1_u8(out, bytes);
    uint8_t all[8];
    vst1_u8(all, bytes);
    memcpy(out, all, size_t(count));
    return;
  }
  float real[8];
  vst1q_f32(real, float4(low, target.to, c));
  vst1q_f32(real + 4, float4(high, target.to, c + 4));
  memcpy(static_cast<float*>(target.out) + at, real, size_t(count < 8 ? count : 8) * sizeof(float));
}

// Four vectors of sums: one panel, from output channel c on, of which `count` are real.
inline void store16(const Target& target, const int32x4_t* sums, size_t c, int count, size_t pixel) {
  store8(target, sums[0], sums[1], c, count, pixel);
  if (count > 8) store8(target, sums[2], sums[3], c + 8, count - 8, pixel);
}

}  // namespace
}  // namespace camfit
