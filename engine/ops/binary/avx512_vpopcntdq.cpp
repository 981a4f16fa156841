// Counts the bits of exclusive ors with VPOPCNTDQ.
#if defined(__AVX512VPOPCNTDQ__)
#include "../simd.h"

namespace camfit {
namespace avx512 {
namespace {

struct Words {
  __m512i v;
  static Words load(const uint64_t* from) { return {_mm512_loadu_si512(from)}; }
  static Words all(uint64_t word) { return {_mm512_set1_epi64(int64_t(word))}; }
};

struct Counts {
  __m512i v;
  static Counts zero() { return {_mm512_setzero_si512()}; }
  void add(Words a, Words b) { v = _mm512_add_epi64(v, _mm512_popcnt_epi64(_mm512_xor_si512(a.v, b.v))); }
  Vec8 dots(int bits) const {
    const __m256i differ = _mm512_cvtepi64_epi32(v);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(bits), _mm256_add_epi32(differ, differ)));
  }
};

// popcount(a ^ b) of `count` words.
inline int disagreements(const uint64_t* a, const uint64_t* b, int count) {
  __m512i sum = _mm512_setzero_si512();
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m512i differ = _mm512_xor_si512(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(differ));
  }
  if (i < count) {
    const __mmask8 mask = __mmask8((1u << (count - i)) - 1);
    const __m512i differ =
        _mm512_xor_si512(_mm512_maskz_loadu_epi64(mask, a + i), _mm512_maskz_loadu_epi64(mask, b + i));
    sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(differ));
  }
  return int(_mm512_reduce_add_epi64(sum));
}

}  // namespace
}  // namespace avx512
}  // namespace camfit

#include "across_channels.h"

namespace camfit {
namespace avx512 {

void binary_conv2d(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                   const Epilogue& epilogue, float* out, Range rows, Range channels) {
  across_channels<disagreements>(w, in, weights, box_mean, epilogue, out, rows, channels);
}

}  // namespace avx512
}  // namespace camfit
#endif
