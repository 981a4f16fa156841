#include "../plain.h"

namespace camfit {
namespace plain {

void normalise_u8(const uint8_t* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < channels; ++c) *out++ = float(*in++) * scale[c] + shift[c];
}

void normalise_f32(const float* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < channels; ++c) *out++ = *in++ * scale[c] + shift[c];
}

}  // namespace plain
}  // namespace camfit
