// A matrix transposition, pixels x channels to channels x pixels, in blocks of 8 x 8. For vectors of 8.
#pragma once
#include <string.h>

#include "../simd.h"
#if !defined(__aarch64__)
#include "../transpose.h"
#endif

namespace camfit {
namespace CAMFIT_SET {
namespace {

#if defined(__aarch64__)
inline void transpose(float32x4_t (&r)[4]) {
  float64x2_t t[4];  // pairs of floats
  for (int i = 0; i < 4; i += 2) {
    t[i] = vreinterpretq_f64_f32(vtrn1q_f32(r[i], r[i + 1]));
    t[i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(r[i], r[i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    r[i] = vreinterpretq_f32_f64(vtrn1q_f64(t[i], t[i + 2]));
    r[i + 2] = vreinterpretq_f32_f64(vtrn2q_f64(t[i], t[i + 2]));
  }
}

void transpose_block(const float* in, size_t in_step, float* out, size_t out_step) {
  for (int y = 0; y < 8; y += 4) {
    for (int x = 0; x < 8; x += 4) {
      float32x4_t r[4];
      for (int i = 0; i < 4; ++i) r[i] = vld1q_f32(in + (y + i) * in_step + x);
      transpose(r);
      for (int i = 0; i < 4; ++i) vst1q_f32(out + (x + i) * out_step + y, r[i]);
    }
  }
}
#else
void transpose_block(const float* in, size_t in_step, float* out, size_t out_step) {
  Vec8 r[8];
  for (int i = 0; i < 8; ++i) r[i] = Vec8::load(in + i * in_step);
  transpose(r);
  for (int i = 0; i < 8; ++i) r[i].store(out + i * out_step);
}
#endif

}  // namespace

void flatten(const Shape& shape, const float* in, float* out) {
  const size_t pixels = size_t(shape.height) * shape.width, channels = size_t(shape.channels);
  if (pixels == 1 || channels == 1) {
    memcpy(out, in, pixels * channels * sizeof(float));
    return;
  }
  const size_t whole_pixels = pixels - pixels % 8, whole_channels = channels - channels % 8;
  for (size_t c = 0; c < whole_channels; c += 8) {
    for (size_t p = 0; p < whole_pixels; p += 8)
      transpose_block(in + p * channels + c, channels, out + c * pixels + p, pixels);
    for (size_t i = c; i < c + 8; ++i)
      for (size_t p = whole_pixels; p < pixels; ++p) out[i * pixels + p] = in[p * channels + i];
  }
  for (size_t c = whole_channels; c < channels; ++c)
    for (size_t p = 0; p < pixels; ++p) out[c * pixels + p] = in[p * channels + c];
}

}  // namespace CAMFIT_SET
}  // namespace camfit
