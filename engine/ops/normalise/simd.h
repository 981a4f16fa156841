// Up to 8 channels: scale and shift are repeated to whole vectors, `channels` of which hold 8 pixels. For vectors of 8.
// The product is rounded before the sum, as in plain C++ and torch: where bytes are made of the result, all sets shall
// make the same ones. (Built without contraction.)
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kLanes = Vec8::kLanes;

template <typename Value>
void normalise(const Value* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  int p = 0;
  if (channels <= kLanes) {
    float scales[kLanes * kLanes], shifts[kLanes * kLanes];
    const int values = channels * kLanes;
    for (int i = 0; i < values; ++i) scales[i] = scale[i % channels], shifts[i] = shift[i % channels];
    for (; p + kLanes <= pixels; p += kLanes, in += values, out += values)
      for (int i = 0; i < values; i += kLanes)
        (Vec8::load(in + i) * Vec8::load(scales + i) + Vec8::load(shifts + i)).store(out + i);
  }
  for (; p < pixels; ++p, in += channels, out += channels) {
    int c = 0;
    for (; c + kLanes <= channels; c += kLanes)
      (Vec8::load(in + c) * Vec8::load(scale + c) + Vec8::load(shift + c)).store(out + c);
    for (; c < channels; ++c) out[c] = float(in[c]) * scale[c] + shift[c];
  }
}

}  // namespace

void normalise_u8(const uint8_t* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  normalise(in, pixels, channels, scale, shift, out);
}

void normalise_f32(const float* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  normalise(in, pixels, channels, scale, shift, out);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
