#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

// e^x for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of e^r to r^7 (relative error 5e-9 there),
// and n put into the exponent. Below -87.3, where the result would leave the normal floats, it is 0. NaN stays NaN.
__m256 exp_of(__m256 x) {
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: the first has few bits, so that n times it is exact
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.0f / 5040);
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 720));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 120));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 24));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f / 6));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(0.5f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f));
  y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  const __m256 result = _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
  const __m256 tiny = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
  const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  return _mm256_blendv_ps(_mm256_andnot_ps(tiny, result), x, nan);
}

}  // namespace

void softmax(const float* in, float* out, int count) {
  float largest = in[0];
  for (int i = 1; i < count; ++i) largest = in[i] > largest ? in[i] : largest;
  const __m256 top = _mm256_set1_ps(largest);
  __m256 sum = _mm256_setzero_ps();
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 y = exp_of(_mm256_sub_ps(_mm256_loadu_ps(in + i), top));
    _mm256_storeu_ps(out + i, y);
    sum = _mm256_add_ps(sum, y);
  }
  const __m256i mask = lane_mask(count - i);
  if (i < count) {
    const __m256 y = exp_of(_mm256_sub_ps(_mm256_maskload_ps(in + i, mask), top));
    _mm256_maskstore_ps(out + i, mask, y);
    sum = _mm256_add_ps(sum, _mm256_and_ps(y, _mm256_castsi256_ps(mask)));
  }
  const __m256 total = _mm256_set1_ps(sum_lanes(sum));
  for (int j = 0; j < i; j += kLanes) _mm256_storeu_ps(out + j, _mm256_div_ps(_mm256_loadu_ps(out + j), total));
  if (i < count) _mm256_maskstore_ps(out + i, mask, _mm256_div_ps(_mm256_maskload_ps(out + i, mask), total));
}

}  // namespace avx2
}  // namespace camfit
#endif
