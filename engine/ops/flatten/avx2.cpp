// A matrix transposition, pixels x channels to channels x pixels, in blocks of 8 x 8.
#if defined(__AVX2__)
#include <string.h>

#include "../avx2_vector.h"
#include "../transpose.h"

namespace camfit {
namespace avx2 {
namespace {

void transpose_block(const float* in, size_t in_step, float* out, size_t out_step) {
  Vec8 r[8];
  for (int i = 0; i < 8; ++i) r[i] = Vec8::load(in + i * in_step);
  transpose(r);
  for (int i = 0; i < 8; ++i) r[i].store(out + i * out_step);
}

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

}  // namespace avx2
}  // namespace camfit
#endif
