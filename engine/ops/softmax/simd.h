// For vectors of 8.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

// nearest: to whole numbers. power_of_two: of whole numbers. bounded: y, but 0 where x < -87.3, and x where it is NaN.
// only: zeros past the mask.
#if defined(__aarch64__)
inline Vec8 nearest(Vec8 x) { return {vrndnq_f32(x.low), vrndnq_f32(x.high)}; }
inline float32x4_t power_of_two(float32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
inline Vec8 power_of_two(Vec8 n) { return {power_of_two(n.low), power_of_two(n.high)}; }
inline float32x4_t bounded(float32x4_t y, float32x4_t x) {
  const uint32x4_t tiny = vcltq_f32(x, vdupq_n_f32(-87.3f));
  return vbslq_f32(vceqq_f32(x, x), vbslq_f32(tiny, vdupq_n_f32(0.0f), y), x);
}
inline Vec8 bounded(Vec8 y, Vec8 x) { return {bounded(y.low, x.low), bounded(y.high, x.high)}; }
inline Vec8 only(Vec8 y, Vec8::Mask mask) {
  float lanes[Vec8::kLanes];
  y.store(lanes);
  return Vec8::load(lanes, mask);
}
#else
inline Vec8 nearest(Vec8 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec8 power_of_two(Vec8 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Vec8 bounded(Vec8 y, Vec8 x) {
  const __m256 tiny = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
  return _mm256_blendv_ps(_mm256_andnot_ps(tiny, y), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
inline Vec8 only(Vec8 y, Vec8::Mask mask) { return _mm256_and_ps(y, _mm256_castsi256_ps(mask.lanes)); }
#endif

// e^x for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of e^r to r^7 (relative error 5e-9 there),
// and n put into the exponent. Below -87.3, where the result would leave the normal floats, it is 0. NaN stays NaN.
Vec8 exp_of(Vec8 x) {
  const Vec8 n = nearest(x * Vec8::all(1.44269504f));
  // ln 2 in two parts: the first has few bits, so that n times it is exact
  Vec8 r = fma(n, Vec8::all(-0.693359375f), x);
  r = fma(n, Vec8::all(2.12194440e-4f), r);
  Vec8 y = Vec8::all(1.0f / 5040);
  y = fma(y, r, Vec8::all(1.0f / 720));
  y = fma(y, r, Vec8::all(1.0f / 120));
  y = fma(y, r, Vec8::all(1.0f / 24));
  y = fma(y, r, Vec8::all(1.0f / 6));
  y = fma(y, r, Vec8::all(0.5f));
  y = fma(y, r, Vec8::all(1.0f));
  y = fma(y, r, Vec8::all(1.0f));
  return bounded(y * power_of_two(n), x);
}

}  // namespace

void softmax(const float* in, float* out, int count) {
  constexpr int kLanes = Vec8::kLanes;
  float largest = in[0];
  for (int i = 1; i < count; ++i) largest = in[i] > largest ? in[i] : largest;
  const Vec8 top = Vec8::all(largest);
  Vec8 sum = Vec8::zero();
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec8 y = exp_of(Vec8::load(in + i) - top);
    y.store(out + i);
    sum = sum + y;
  }
  const Vec8::Mask mask = Vec8::mask(count - i);
  if (i < count) {
    const Vec8 y = exp_of(Vec8::load(in + i, mask) - top);
    y.store(out + i, mask);
    sum = sum + only(y, mask);
  }
  const Vec8 total = Vec8::all(sum_lanes(sum));
  for (int j = 0; j < i; j += kLanes) (Vec8::load(out + j) / total).store(out + j);
  if (i < count) (Vec8::load(out + i, mask) / total).store(out + i, mask);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
