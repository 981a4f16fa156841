#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {

void add(const float* a, const float* b, Activation kind, float* out, size_t count) {
  const Clamp clamp(kind);
  size_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) clamp(Vec::load(a + i) + Vec::load(b + i)).store(out + i);
  if (i == count) return;
  const Vec::Mask mask = Vec::mask(int(count - i));
  clamp(Vec::load(a + i, mask) + Vec::load(b + i, mask)).store(out + i, mask);
}

void activation(const float* in, Activation kind, float* out, size_t count) {
  const Clamp clamp(kind);
  size_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) clamp(Vec::load(in + i)).store(out + i);
  if (i == count) return;
  const Vec::Mask mask = Vec::mask(int(count - i));
  clamp(Vec::load(in + i, mask)).store(out + i, mask);
}

void affine(const float* in, int pixels, int channels, const Epilogue& epilogue, float* out) {
  const int whole = channels - channels % Vec::kLanes;
  const Vec::Mask mask = Vec::mask(channels - whole);
  const Finish last(epilogue, whole, mask);
  for (int p = 0; p < pixels; ++p, in += channels, out += channels) {
    for (int c = 0; c < whole; c += Vec::kLanes) Finish(epilogue, c)(Vec::load(in + c)).store(out + c);
    if (whole < channels) last(Vec::load(in + whole, mask)).store(out + whole, mask);
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
