// Sixteen sums, which their biases are in, to sixteen outputs, with AVX2.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "rounding.h"

namespace camfit {
namespace {

inline __m256i load8(const int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

inline __m256i load4(const int64_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// Half 0 or 1 of a block: levels of sums that the biases are in, without their zero point and bounds.
inline __m256i level8(__m256i sum, int zero, const RequantizeBlock& block, int half) {
  const int at = 4 * half;
  const __m256i even = _mm256_mul_epi32(sum, load4(block.multiplier[0] + at));
  const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(sum, 32), load4(block.multiplier[1] + at));
  if (block.high) {
    const __m256i both = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    return _mm256_srav_epi32(_mm256_add_epi32(both, load8(block.half + 8 * half)), load8(block.high_shift + 8 * half));
  }
  const auto shifted = [&](__m256i product, int which) {
    return _mm256_srlv_epi64(_mm256_add_epi64(product, load4(block.add[which] + at)), load4(block.shift[which] + at));
  };
  const __m256i both = _mm256_blend_epi32(shifted(even, 0), _mm256_slli_epi64(shifted(odd, 1), 32), 0xAA);
  return _mm256_sub_epi32(_mm256_sub_epi32(both, load8(block.less + 8 * half)), _mm256_set1_epi32(zero));
}

// Two halves of levels to 16 bits, the zero point added, their channels in the order 0-3, 8-11, 4-7, 12-15. This and all
// narrowing saturates, which the bounds, 0 to 255, make right.
inline __m256i words16(__m256i low, __m256i high, int zero) {
  return _mm256_adds_epi16(_mm256_packs_epi32(low, high), _mm256_set1_epi16(int16_t(zero)));
}

inline __m128i bounded(__m128i bytes, const Requantize& to) {
  return _mm_min_epu8(_mm_max_epu8(bytes, _mm_set1_epi8(char(to.low))), _mm_set1_epi8(char(to.high)));
}

inline __m128i requantize16(__m256i low, __m256i high, const Requantize& to, const RequantizeBlock& block) {
  const __m256i words = words16(level8(low, to.zero, block, 0), level8(high, to.zero, block, 1), to.zero);
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  return bounded(_mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)), to);
}

// The first `count` bytes, up to 16, in at most four pieces: a copy of so few bytes is no time to call a function.
inline void store_bytes(uint8_t* out, __m128i bytes, int count) {
  if (count >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  if (count & 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
    bytes = _mm_unpackhi_epi64(bytes, bytes);
    out += 8;
  }
  uint64_t rest;
  _mm_storel_epi64(reinterpret_cast<__m128i*>(&rest), bytes);
  for (int piece = 4; piece > 0; piece /= 2) {
    if (!(count & piece)) continue;
    for (int i = 0; i < piece; ++i) out[i] = uint8_t(rest >> 8 * i);
    rest >>= 8 * piece;
    out += piece;
  }
}

inline __m256 float8(__m256i sum, const Requantize& to, size_t c) {
  const __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(to.scale + c));
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
