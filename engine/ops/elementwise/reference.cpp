#include "../plain.h"

namespace camfit {
namespace plain {

void add(const float* a, const float* b, Activation kind, float* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = activate(a[i] + b[i], kind);
}

void activation(const float* in, Activation kind, float* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = activate(in[i], kind);
}

void affine(const float* in, int pixels, int channels, const Epilogue& epilogue, float* out) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < channels; ++c) *out++ = finish(*in++, epilogue, c);
}

}  // namespace plain
}  // namespace camfit
