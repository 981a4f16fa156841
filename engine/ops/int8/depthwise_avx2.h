// Depthwise windows of 3 x 3 taps by VPMADDWD, 16 channels at a time. Of up to four rows, the first two and the last two are
// interleaved as words, so that a product adds two taps one above the other. With stride 1 the same columns serve the window
// of the next row too. Interleaving leaves channels in an order in which narrowing puts them right again.
#pragma once
#include <immintrin.h>

#include "depthwise_rows.h"
#include "vectors_avx2.h"

namespace camfit {
namespace {

// A kernel of depthwise_rows.h.
struct PairedWords {
  static constexpr int kBytes = 16;

  // Rows 0 and 1, rows 2 and 3; channels 0-3 and 8-11, then 4-7 and 12-15. Members, not arrays, stay in registers.
  struct Column {
    __m256i upper, upper_next, lower, lower_next;
  };

  static __m256i load(const int32_t* at) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(at)); }

  static Column column(const uint8_t* const (&rows)[4], ptrdiff_t at) {
    const auto words = [at](const uint8_t* row) {
      return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + at)));
    };
    const __m256i a = words(rows[0]), b = words(rows[1]), c = words(rows[2]), d = words(rows[3]);
    return {_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b), _mm256_unpacklo_epi16(c, d),
            _mm256_unpackhi_epi16(c, d)};
  }

  static Column outside(int zero) {
    const __m256i all = _mm256_set1_epi16(int16_t(zero));
    return {all, all, all, all};
  }

  struct Constants {
    // Of each column of a window: for rows 0 and 1, for rows 2 and 3. Those of the window below are one row on.
    alignas(32) int32_t weights[3][2][kBytes], below[3][2][kBytes];
    alignas(32) int32_t bias[kBytes], even[kBytes], odd[kBytes], half[kBytes], shift[kBytes];

    // Of the channels from `first` on; past the last, whatever stands there.
    Constants(const int16_t* pairs, size_t padded, const Requantize& to, int first, int channels) {
      for (int i = 0; i < kBytes; i += 4) {
        const int last = (channels - 1) / 4 * 4;
        const size_t c = size_t(first + i < last ? first + i : last);
        set(i, pairs + 2 * c, padded, to.bias + c, to.multiplier + c, to.shift + c);
      }
    }

    // Of fewer channels than there are, again and again.
    Constants(const int16_t* pairs, size_t padded, const Requantize& to, int channels) {
      for (int i = 0; i < kBytes; i += 4) {
        const RepeatedChannels four(pairs, padded, to, channels, i);
        set(i, four.pairs[0][0], 4, four.bias, four.multiplier, four.shift);
      }
    }

   private:
    void set(int i, const int16_t* pairs, size_t padded, const int32_t* biases, const int32_t* multipliers,
             const int32_t* shifts) {
      const auto load4 = [](const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); };
      const int at = i / 4 % 2 * 8 + i / 8 * 4;
      const auto store = [at](int32_t* to, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(to + at), v); };
      for (size_t kx = 0; kx < 3; ++kx) {
        const __m128i first = load4(pairs + 4 * kx * padded), third = load4(pairs + (4 * kx + 2) * padded);
        store(weights[kx][0], first);
        store(weights[kx][1], third);
        store(below[kx][0], _mm_slli_epi32(first, 16));
        store(below[kx][1], _mm_or_si128(_mm_srli_epi32(first, 16), _mm_slli_epi32(third, 16)));
      }
      const __m128i multiplier = load4(multipliers), high_shift = _mm_sub_epi32(load4(shifts), _mm_set1_epi32(32));
      store(bias, load4(biases));
      store(even, multiplier);
      store(odd, _mm_srli_epi64(multiplier, 32));
      store(shift, high_shift);
      store(half, _mm_sllv_epi32(_mm_set1_epi32(1), _mm_sub_epi32(high_shift, _mm_set1_epi32(1))));
    }
  };

  struct Bounds {
    __m256i zero;
    __m128i low, high;
    explicit Bounds(const Requantize& to)
        : zero(_mm256_set1_epi16(int16_t(to.zero))),
          low(_mm_set1_epi8(char(to.low))),
          high(_mm_set1_epi8(char(to.high))) {}
  };

  static __m256i products(const Column& column, const int32_t (&w)[2][kBytes], int j) {
    return _mm256_add_epi32(_mm256_madd_epi16(j ? column.upper_next : column.upper, load(w[0] + 8 * j)),
                            _mm256_madd_epi16(j ? column.lower_next : column.lower, load(w[1] + 8 * j)));
  }

  // The levels of 8 channels without their zero point; see RequantizeBlock.
  static __m256i level(const Column& first, const Column& second, const Column& third, const Constants& k,
                       const int32_t (&w)[3][2][kBytes], int j) {
    const __m256i two = _mm256_add_epi32(products(first, w[0], j), products(second, w[1], j));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(two, load(k.bias + 8 * j)), products(third, w[2], j));
    const __m256i even = _mm256_mul_epi32(sum, load(k.even + 8 * j));
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(sum, 32), load(k.odd + 8 * j));
    const __m256i both = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    return _mm256_srav_epi32(_mm256_add_epi32(both, load(k.half + 8 * j)), load(k.shift + 8 * j));
  }

  static void store(uint8_t* to, int count, __m256i low, __m256i high, const Bounds& bounds) {
    const __m256i words = _mm256_adds_epi16(_mm256_packs_epi32(low, high), bounds.zero);
    const __m256i doubled = _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08);
    const __m128i bytes = _mm_min_epu8(_mm_max_epu8(_mm256_castsi256_si128(doubled), bounds.low), bounds.high);
    store_bytes(to, bytes, count);
  }

  template <bool two>
  static void windows(const Column& first, const Column& second, const Column& third, const Constants& k,
                      const Bounds& bounds, uint8_t* const (&out)[2], size_t at, int count) {
    store(out[0] + at, count, level(first, second, third, k, k.weights, 0), level(first, second, third, k, k.weights, 1),
          bounds);
    if (two)
      store(out[1] + at, count, level(first, second, third, k, k.below, 0), level(first, second, third, k, k.below, 1),
            bounds);
  }
};

struct DepthwiseSet {
  using Flat = PairedWords;
  static constexpr int kFlatBelow = PairedWords::kBytes;

  static void run(const DepthwiseRows& rows) {
    for (int c = 0; c < rows.w.in.channels; c += PairedWords::kBytes) rows.channels_from<PairedWords>(c);
  }
};

}  // namespace
}  // namespace camfit
