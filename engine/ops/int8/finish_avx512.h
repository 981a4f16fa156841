// Sums that their biases are in to outputs, sixteen channels a vector, with AVX-512. See RequantizeBlock in int8.h.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "../vector.h"
#include "int8.h"

namespace camfit {
namespace {

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

inline __mmask32 first_bytes(int count) { return count >= 32 ? ~__mmask32(0) : (__mmask32(1) << count) - 1; }

// Bounds and zero point of levels in bytes.
struct Bounds {
  __m512i zero, low, high;
  explicit Bounds(const Requantize& to)
      : zero(_mm512_set1_epi16(int16_t(to.zero))),
        low(_mm512_set1_epi8(char(to.low))),
        high(_mm512_set1_epi8(char(to.high))) {}
};

// The constants of a panel whose block is `high`.
struct HighBlock {
  __m512i even, odd, half, shift;
  explicit HighBlock(const RequantizeBlock& block)
      : even(_mm512_loadu_si512(block.multiplier[0])),
        odd(_mm512_loadu_si512(block.multiplier[1])),
        half(_mm512_loadu_si512(block.half)),
        shift(_mm512_loadu_si512(block.high_shift)) {}
  // Levels without their zero point.
  __m512i operator()(__m512i sum) const {
    const __m512i low = _mm512_mul_epi32(sum, even), high = _mm512_mul_epi32(_mm512_srli_epi64(sum, 32), odd);
    const __m512i both = _mm512_mask_shuffle_epi32(high, 0x5555, low, _MM_PERM_DDBB);
    return _mm512_srav_epi32(_mm512_add_epi32(both, half), shift);
  }
};

// The bytes of four vectors of levels, one after the other. Both steps of narrowing saturate, and so does the addition
// of the zero point, which the bounds, 0 to 255, make right.
inline __m512i bytes_of(__m512i a, __m512i b, __m512i c, __m512i d, const Bounds& bounds) {
  const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), bounds.zero);
  const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), bounds.zero);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
  return _mm512_min_epu8(_mm512_max_epu8(bytes, bounds.low), bounds.high);
}

inline __m512i level_of(__m512i sum, const RequantizeBlock& block, int zero) {
  if (block.high) return _mm512_add_epi32(HighBlock(block)(sum), _mm512_set1_epi32(zero));
  const auto scaled = [&](__m512i sums, int odd) {
    const __m512i product = _mm512_mul_epi32(sums, _mm512_loadu_si512(block.multiplier[odd]));
    return _mm512_srlv_epi64(_mm512_add_epi64(product, _mm512_loadu_si512(block.add[odd])),
                             _mm512_loadu_si512(block.shift[odd]));
  };
  const __m512i odd = _mm512_slli_epi64(scaled(_mm512_srli_epi64(sum, 32), 1), 32);
  const __m512i both = _mm512_mask_blend_epi32(0xAAAA, scaled(sum, 0), odd);
  return _mm512_sub_epi32(both, _mm512_loadu_si512(block.less));
}

// One vector; `number` is the panel's.
inline void store(const Target& target, __m512i sum, const PanelPlace& place, int number, size_t pixel) {
  const Requantize& to = target.to;
  const size_t at = pixel * target.channels + size_t(place.first), c = size_t(place.first);
  const __mmask16 lanes = __mmask16((1u << place.count) - 1);
  if (!to.blocks) {
    __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(to.scale + c));
    if (to.activation != Activation::kNone) y = _mm512_max_ps(_mm512_setzero_ps(), y);
    if (to.activation == Activation::kRelu6) y = _mm512_min_ps(_mm512_set1_ps(6.0f), y);
    _mm512_mask_storeu_ps(static_cast<float*>(target.out) + at, lanes, y);
    return;
  }
  const __m512i level = level_of(sum, to.blocks[number], to.zero);
  const __m512i raised = _mm512_max_epi32(level, _mm512_set1_epi32(to.low));
  const __m512i clamped = _mm512_min_epi32(raised, _mm512_set1_epi32(to.high));
  _mm_mask_storeu_epi8(static_cast<uint8_t*>(target.out) + at, lanes, _mm512_cvtepi32_epi8(clamped));
}

// Pixels one after the other of one panel, four at a time.
template <int pixels>
inline __attribute__((always_inline)) void store_high(const Target& target, const __m512i (&sums)[pixels][1],
                                                      const PanelPlace* place, const RequantizeBlock* block, size_t pixel) {
  const HighBlock levels(*block);
  const Bounds bounds(target.to);
  const __mmask16 lanes = __mmask16((1u << place->count) - 1);
  const size_t channels = target.channels;
  uint8_t* to = static_cast<uint8_t*>(target.out) + pixel * channels + size_t(place->first);
  CAMFIT_UNROLL(2) for (int i = 0; i < pixels; i += 4, to += 4 * channels) {
    const int b = i + 1 < pixels ? i + 1 : i, c = i + 2 < pixels ? i + 2 : i, d = i + 3 < pixels ? i + 3 : i;
    const __m512i bytes = bytes_of(levels(sums[i][0]), levels(sums[b][0]), levels(sums[c][0]), levels(sums[d][0]),
                                   bounds);
    _mm_mask_storeu_epi8(to, lanes, _mm512_castsi512_si128(bytes));
    if (i + 1 < pixels) _mm_mask_storeu_epi8(to + channels, lanes, _mm512_extracti32x4_epi32(bytes, 1));
    if (i + 2 < pixels) _mm_mask_storeu_epi8(to + 2 * channels, lanes, _mm512_extracti32x4_epi32(bytes, 2));
    if (i + 3 < pixels) _mm_mask_storeu_epi8(to + 3 * channels, lanes, _mm512_extracti32x4_epi32(bytes, 3));
  }
}

// Of two neighbouring panels, two at a time.
template <int pixels>
inline __attribute__((always_inline)) void store_high(const Target& target, const __m512i (&sums)[pixels][2],
                                                      const PanelPlace* place, const RequantizeBlock* block, size_t pixel) {
  const HighBlock first(block[0]), second(block[1]);
  const Bounds bounds(target.to);
  const __mmask32 lanes = first_bytes(kPanel + place[1].count);
  const size_t channels = target.channels;
  uint8_t* to = static_cast<uint8_t*>(target.out) + pixel * channels + size_t(place->first);
  CAMFIT_UNROLL(4) for (int i = 0; i < pixels; i += 2, to += 2 * channels) {
    const int other = i + 1 < pixels ? i + 1 : i;
    const __m512i bytes = bytes_of(first(sums[i][0]), second(sums[i][1]), first(sums[other][0]), second(sums[other][1]),
                                   bounds);
    _mm256_mask_storeu_epi8(to, lanes, _mm512_castsi512_si256(bytes));
    if (other > i) _mm256_mask_storeu_epi8(to + channels, lanes, _mm512_extracti64x4_epi64(bytes, 1));
  }
}

}  // namespace
}  // namespace camfit
