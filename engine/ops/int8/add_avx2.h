// The sum of two tensors of bytes, for AVX2 and the sets above it. A multiplier of up to 22 bits is two factors of 16
// bits, so that VPMADDWD multiplies and adds both inputs at once.
#pragma once
#include <immintrin.h>

#include "elementwise.h"

namespace camfit {
namespace {
namespace bytes256 {

struct SumConstants {
  static constexpr int kLowBits = 12;
  __m256i low_factors, high_factors, constant, zero, low, high;
  __m128i shift;
  explicit SumConstants(const Int8Sum& s) {
    const auto factors = [](int a, int b) { return _mm256_set1_epi32(int(uint32_t(a) | uint32_t(b) << 16)); };
    constexpr int kLow = (1 << kLowBits) - 1;
    low_factors = factors(s.a_multiplier & kLow, s.b_multiplier & kLow);
    high_factors = factors(s.a_multiplier >> kLowBits, s.b_multiplier >> kLowBits);
    constant = _mm256_set1_epi32((1 << (s.shift - 1)) - s.a_zero * s.a_multiplier - s.b_zero * s.b_multiplier);
    zero = _mm256_set1_epi16(int16_t(s.zero));
    low = _mm256_set1_epi8(char(s.low));
    high = _mm256_set1_epi8(char(s.high));
    shift = _mm_cvtsi32_si128(s.shift);
  }
  // Pairs of 16 bits to levels without their zero point.
  __m256i level(__m256i pairs) const {
    const __m256i upper = _mm256_slli_epi32(_mm256_madd_epi16(pairs, high_factors), kLowBits);
    const __m256i both = _mm256_add_epi32(upper, _mm256_madd_epi16(pairs, low_factors));
    return _mm256_sra_epi32(_mm256_add_epi32(both, constant), shift);
  }
  // Neighbouring bytes of the two inputs to words.
  __m256i words(__m256i mixed) const {
    const __m256i none = _mm256_setzero_si256();
    const __m256i first = level(_mm256_unpacklo_epi8(mixed, none)), second = level(_mm256_unpackhi_epi8(mixed, none));
    return _mm256_adds_epi16(_mm256_packs_epi32(first, second), zero);
  }
};

void add(const uint8_t* a, const uint8_t* b, const Int8Sum& sum, uint8_t* out, size_t count) {
  const SumConstants constants(sum);
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i));
    const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i));
    // Lanes of 16 are taken apart and put together again in the same order.
    const __m256i level = _mm256_packus_epi16(constants.words(_mm256_unpacklo_epi8(x, y)),
                                              constants.words(_mm256_unpackhi_epi8(x, y)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_min_epu8(_mm256_max_epu8(level, constants.low), constants.high));
  }
  elementwise::add(a + i, b + i, sum, out + i, count - i);
}

}  // namespace bytes256
}  // namespace
}  // namespace camfit
