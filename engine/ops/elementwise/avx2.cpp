#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {

void add(const float* a, const float* b, Activation kind, float* out, size_t count) {
  const Clamp clamp(kind);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    _mm256_storeu_ps(out + i, clamp(_mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i))));
  if (i == count) return;
  const __m256i mask = lane_mask(int(count - i));
  const __m256 sum = _mm256_add_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask));
  _mm256_maskstore_ps(out + i, mask, clamp(sum));
}

void activation(const float* in, Activation kind, float* out, size_t count) {
  const Clamp clamp(kind);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) _mm256_storeu_ps(out + i, clamp(_mm256_loadu_ps(in + i)));
  if (i == count) return;
  const __m256i mask = lane_mask(int(count - i));
  _mm256_maskstore_ps(out + i, mask, clamp(_mm256_maskload_ps(in + i, mask)));
}

void affine(const float* in, int pixels, int channels, const Epilogue& epilogue, float* out) {
  const int whole = channels - channels % kLanes;
  const __m256i mask = lane_mask(channels - whole);
  const LaneFinish last(epilogue, whole, mask);
  for (int p = 0; p < pixels; ++p, in += channels, out += channels) {
    for (int c = 0; c < whole; c += kLanes)
      _mm256_storeu_ps(out + c, LaneFinish(epilogue, c)(_mm256_loadu_ps(in + c)));
    if (whole < channels) _mm256_maskstore_ps(out + whole, mask, last(_mm256_maskload_ps(in + whole, mask)));
  }
}

}  // namespace avx2
}  // namespace camfit
#endif
