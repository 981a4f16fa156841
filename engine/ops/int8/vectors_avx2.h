// Sixteen sums to sixteen outputs, with AVX2.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "rounding.h"

namespace camfit {
namespace {

inline __m256i load8(const int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// (sum * multiplier + 2^(shift-1)) >> shift of the even 32-bit lanes. There is no arithmetic shift of 64 bits: 2^62 is
// added before a logical one, and its rest, 2^(62-shift), is taken off after it.
inline __m256i scaled_even(__m256i sum, __m256i multiplier, __m256i shift) {
  const __m256i one = _mm256_set1_epi64x(1), lift = _mm256_set1_epi64x(int64_t(1) << 62);
  const __m256i product = _mm256_add_epi64(_mm256_mul_epi32(sum, multiplier), lift);
  const __m256i half = _mm256_add_epi64(_mm256_srlv_epi64(product, _mm256_sub_epi64(shift, one)), one);
  const __m256i rest = _mm256_srlv_epi64(lift, shift);
  return _mm256_sub_epi64(_mm256_srli_epi64(half, 1), rest);
}

inline __m256i requantize8(__m256i sum, const Requantize& to, size_t c) {
  const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF);
  sum = _mm256_add_epi32(sum, load8(to.bias + c));
  const __m256i multiplier = load8(to.multiplier + c), shift = load8(to.shift + c);
  const __m256i even = scaled_even(sum, multiplier, _mm256_and_si256(shift, low_half));
  const __m256i odd = scaled_even(_mm256_srli_epi64(sum, 32), _mm256_srli_epi64(multiplier, 32), _mm256_srli_epi64(shift, 32));
  const __m256i both = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  const __m256i level = _mm256_add_epi32(both, _mm256_set1_epi32(to.zero));
  return _mm256_min_epi32(_mm256_max_epi32(level, _mm256_set1_epi32(to.low)), _mm256_set1_epi32(to.high));
}

inline __m128i requantize16(__m256i low, __m256i high, const Requantize& to, size_t c) {
  const __m256i words = _mm256_packs_epi32(requantize8(low, to, c), requantize8(high, to, c + 8));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}

inline void store_bytes(uint8_t* out, __m128i bytes, int count) {
  if (count == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    return;
  }
  uint8_t all[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(all), bytes);
  memcpy(out, all, size_t(count));
}

inline __m256 float8(__m256i sum, const Requantize& to, size_t c) {
  const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(sum, load8(to.bias + c))), _mm256_loadu_ps(to.scale + c));
  if (to.activation == Activation::kNone) return y;
  const __m256 positive = _mm256_max_ps(_mm256_setzero_ps(), y);
  return to.activation == Activation::kRelu6 ? _mm256_min_ps(_mm256_set1_ps(6.0f), positive) : positive;
}

inline void store_floats(float* out, __m256i low, __m256i high, const Requantize& to, size_t c, int count) {
  float all[16];
  _mm256_storeu_ps(all, float8(low, to, c));
  _mm256_storeu_ps(all + 8, float8(high, to, c + 8));
  memcpy(out, all, size_t(count) * sizeof(float));
}

}  // namespace
}  // namespace camfit
