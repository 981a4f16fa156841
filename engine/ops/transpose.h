// A transposition of 8 x 8 floats in registers.
#pragma once
#include "vector.h"

namespace camfit {
namespace {

#if defined(__aarch64__)
inline __attribute__((always_inline)) void transpose(float32x4_t (&r)[4]) {
  const float32x4_t a = vzip1q_f32(r[0], r[2]), b = vzip1q_f32(r[1], r[3]);
  const float32x4_t c = vzip2q_f32(r[0], r[2]), d = vzip2q_f32(r[1], r[3]);
  r[0] = vzip1q_f32(a, b);
  r[1] = vzip2q_f32(a, b);
  r[2] = vzip1q_f32(c, d);
  r[3] = vzip2q_f32(c, d);
}

// A quarter is transposed at a time, and the two beside the diagonal change places.
inline __attribute__((always_inline)) void transpose(Vec8 (&r)[8]) {
  float32x4_t quarter[2][2][4];
  CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) {
    quarter[0][0][i] = r[i].low;
    quarter[0][1][i] = r[i].high;
    quarter[1][0][i] = r[4 + i].low;
    quarter[1][1][i] = r[4 + i].high;
  }
  CAMFIT_UNROLL(2) for (int half = 0; half < 2; ++half) {
    transpose(quarter[half][0]);
    transpose(quarter[half][1]);
  }
  CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) {
    r[i] = Vec8(quarter[0][0][i], quarter[1][0][i]);
    r[4 + i] = Vec8(quarter[0][1][i], quarter[1][1][i]);
  }
}
#else
inline __attribute__((always_inline)) void transpose(Vec8 (&r)[8]) {
  __m256 t[8], s[8];
  CAMFIT_UNROLL(4) for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  CAMFIT_UNROLL(2) for (int i = 0; i < 8; i += 4) {
    s[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    s[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    s[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    s[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
  }
}
#endif

}  // namespace
}  // namespace camfit
