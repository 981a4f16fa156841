// Vec8 over two NEON registers, for vector.h. A mask is a number of lanes: NEON loads no vector in part, so tails go
// value by value, and never past the last one.
#pragma once
#include <arm_neon.h>
#include <stdint.h>

namespace camfit {
namespace {

// The first `count` of 4 floats, 0 to 4 or any number beyond; zeros after them.
inline float32x4_t load_first(const float* from, int count) {
  const float32x2_t none = vdup_n_f32(0.0f);
  if (count >= 4) return vld1q_f32(from);
  if (count == 3) return vcombine_f32(vld1_f32(from), vld1_lane_f32(from + 2, none, 0));
  if (count == 2) return vcombine_f32(vld1_f32(from), none);
  if (count == 1) return vcombine_f32(vld1_lane_f32(from, none, 0), none);
  return vdupq_n_f32(0.0f);
}
inline void store_first(float* to, int count, float32x4_t v) {
  if (count >= 4) return vst1q_f32(to, v);
  if (count >= 2) vst1_f32(to, vget_low_f32(v));
  if (count == 3) vst1q_lane_f32(to + 2, v, 2);
  if (count == 1) vst1q_lane_f32(to, v, 0);
}

// max(a, b) and min(a, b) give b where either is not a number, as on x86; NEON's own give NaN.
struct Vec8 {
  static constexpr int kLanes = 8;
  struct Mask {
    int count;
  };
  float32x4_t low, high;

  Vec8() = default;
  Vec8(float32x4_t low_half, float32x4_t high_half) : low(low_half), high(high_half) {}

  static Vec8 zero() { return all(0.0f); }
  static Vec8 all(float value) { return {vdupq_n_f32(value), vdupq_n_f32(value)}; }
  static Vec8 broadcast(const float* from) { return all(*from); }
  static Vec8 load(const float* from) { return {vld1q_f32(from), vld1q_f32(from + 4)}; }
  static Vec8 load(const float* from, Mask mask) {
    return {load_first(from, mask.count), load_first(from + 4, mask.count - 4)};
  }
  static Vec8 load(const int32_t* from) {
    return {vcvtq_f32_s32(vld1q_s32(from)), vcvtq_f32_s32(vld1q_s32(from + 4))};
  }
  static Vec8 load(const uint8_t* from) {
    const uint16x8_t wide = vmovl_u8(vld1_u8(from));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))};
  }
  void store(float* to) const {
    vst1q_f32(to, low);
    vst1q_f32(to + 4, high);
  }
  void store(float* to, Mask mask) const {
    store_first(to, mask.count, low);
    store_first(to + 4, mask.count - 4, high);
  }

  // The first `count` lanes; none where it is 0 or less, all where it is kLanes or more.
  static Mask mask(int count) { return {count}; }
};
inline Vec8 operator+(Vec8 a, Vec8 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
inline Vec8 operator-(Vec8 a, Vec8 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
inline Vec8 operator*(Vec8 a, Vec8 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
inline Vec8 operator/(Vec8 a, Vec8 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
inline Vec8 fma(Vec8 a, Vec8 b, Vec8 c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
inline Vec8 max(Vec8 a, Vec8 b) {
  return {vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low), vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
inline Vec8 min(Vec8 a, Vec8 b) {
  return {vbslq_f32(vcltq_f32(a.low, b.low), a.low, b.low), vbslq_f32(vcltq_f32(a.high, b.high), a.high, b.high)};
}

inline float sum_lanes(Vec8 v) { return vaddvq_f32(vaddq_f32(v.low, v.high)); }
inline float first_lane(Vec8 v) { return vgetq_lane_f32(v.low, 0); }

}  // namespace
}  // namespace camfit
