// Sixteen sums to sixteen outputs, with AVX2.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "rounding.h"

namespace camfit {
namespace {

inline __m256i load8(const int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

inline __m256i load4(const int64_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// Half 0 or 1 of a block.
inline __m256i requantize8(__m256i sum, const Requantize& to, const RequantizeBlock& block, int half) {
  const int at = 4 * half;
  const auto scaled = [&](__m256i sums, int odd) {
    const __m256i product = _mm256_mul_epi32(sums, load4(block.multiplier[odd] + at));
    return _mm256_srlv_epi64(_mm256_add_epi64(product, load4(block.add[odd] + at)), load4(block.shift[odd] + at));
  };
  const __m256i odd = _mm256_slli_epi64(scaled(_mm256_srli_epi64(sum, 32), 1), 32);
  const __m256i level = _mm256_sub_epi32(_mm256_blend_epi32(scaled(sum, 0), odd, 0xAA), load8(block.less + 8 * half));
  return _mm256_min_epi32(_mm256_max_epi32(level, _mm256_set1_epi32(to.low)), _mm256_set1_epi32(to.high));
}

inline __m128i requantize16(__m256i low, __m256i high, const Requantize& to, const RequantizeBlock& block) {
  const __m256i words = _mm256_packs_epi32(requantize8(low, to, block, 0), requantize8(high, to, block, 1));
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
