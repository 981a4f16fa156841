// Binary convolution by table look-up, for AVX2. For each value b of a byte of input signs, a 32-byte table holds
// popcount(nibble of b ^ n) for n = 0..15: the low nibble of b in its lower half, the high one in its upper half.
// With the weights laid out so that a vector holds one byte position of 16 output channels (their low nibbles in the
// lower half, their high ones in the upper half), one shuffle and one addition count the disagreements of 128 bits;
// counting bits of the exclusive or takes about four times as many operations.
#pragma once
#include "../avx2_vector.h"

namespace camfit {
namespace {

struct DisagreementTable {
  alignas(64) uint8_t at[256][32];
  constexpr DisagreementTable() : at() {
    for (int b = 0; b < 256; ++b) {
      for (int n = 0; n < 16; ++n) {
        at[b][n] = count((b & 15) ^ n);
        at[b][n + 16] = count((b >> 4) ^ n);
      }
    }
  }
  static constexpr uint8_t count(int nibble) {
    return uint8_t((nibble & 1) + (nibble >> 1 & 1) + (nibble >> 2 & 1) + (nibble >> 3));
  }
};
constexpr DisagreementTable kDisagreements;

// Weights of up to 4 * 16 output channels, laid out as above: [position][group of 16 channels][32 bytes], where a
// position is one byte of one tap; and how far each position lies from a pixel's first tap, in bytes of the input.
// The size bounds the kernels that fit; longer ones are counted bit by bit.
constexpr int kLookupVectors = 1152;
struct LookupWeights {
  alignas(64) uint8_t at[kLookupVectors * 32];
  int32_t offset[kLookupVectors];
};

// Channel groups that fit at once: 0 when the kernel is too long, else 1 to 4.
inline int lookup_groups(int positions) {
  const int groups = positions > 0 ? kLookupVectors / positions : 0;
  return groups > 4 ? 4 : groups;
}

// Lays out the signs of 16 channels (fewer are filled up with zeros) of `taps` taps of `bytes` bytes each, which are
// stored `words` words apart; the channels are taps * words words apart.
inline void lookup_layout(const uint64_t* weights, int channels, int taps, int words, int bytes, int groups,
                          uint8_t* to) {
  const __m128i low = _mm_set1_epi8(15);
  for (int tap = 0; tap < taps; ++tap) {
    for (int word = 0; word < words; ++word) {
      __m128i r[16], t[16];
      const uint64_t* from = weights + size_t(tap) * words + word;
      for (int i = 0; i < channels; ++i, from += size_t(taps) * words)
        r[i] = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
      for (int i = channels; i < 16; ++i) r[i] = _mm_setzero_si128();
      // Interleaving row i with row i + 8, then the results i and i + 4, and so on, transposes 16 rows of 8 bytes.
      for (int i = 0; i < 8; ++i) t[i] = _mm_unpacklo_epi8(r[i], r[i + 8]);
      for (int i = 0; i < 4; ++i) {
        r[i] = _mm_unpacklo_epi8(t[i], t[i + 4]);
        r[i + 4] = _mm_unpackhi_epi8(t[i], t[i + 4]);
      }
      for (int i = 0; i < 2; ++i) {
        t[i] = _mm_unpacklo_epi8(r[i], r[i + 2]);
        t[i + 2] = _mm_unpackhi_epi8(r[i], r[i + 2]);
        t[i + 4] = _mm_unpacklo_epi8(r[i + 4], r[i + 6]);
        t[i + 6] = _mm_unpackhi_epi8(r[i + 4], r[i + 6]);
      }
      for (int i = 0; i < 4; ++i) {
        r[2 * i] = _mm_unpacklo_epi8(t[2 * i], t[2 * i + 1]);
        r[2 * i + 1] = _mm_unpackhi_epi8(t[2 * i], t[2 * i + 1]);
      }
      const int left = bytes - word * 8, count = left < 8 ? left : 8;
      for (int i = 0; i < count; ++i, to += groups * 32) {
        _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_and_si128(r[i], low));
        _mm_store_si128(reinterpret_cast<__m128i*>(to + 16), _mm_and_si128(_mm_srli_epi16(r[i], 4), low));
      }
    }
  }
}

// What a group of neighbouring output pixels reads: positions [begin, end) of each of `runs` kernel rows.
struct LookupTaps {
  const uint8_t* in;
  ptrdiff_t first;       // byte of the first pixel's first tap; negative where that tap lies in the padding
  ptrdiff_t pixel_step;  // bytes from one pixel's taps to the next's
  int runs, begin, end, run_step;
};

// Counts disagreements of P pixels with N * 16 channels: counts[pixel][channel].
template <int P, int N>
inline void lookup_count(const LookupTaps& t, const LookupWeights& weights, int32_t* counts) {
  constexpr int kMost = 63;  // additions of at most 4 that a byte sum takes
  const __m256i byte_mask = _mm256_set1_epi16(255);
  __m256i sum[P][N], even[P][N], odd[P][N];  // sum: bytes; even, odd: its bytes widened to 16 bits
  CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p)
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) sum[p][n] = even[p][n] = odd[p][n] = _mm256_setzero_si256();
  int room = kMost;
  for (int run = 0; run < t.runs; ++run) {
    int from = t.begin + run * t.run_step;
    const int end = t.end + run * t.run_step;
    while (from < end) {
      const int to = end - from < room ? end : from + room;
      room -= to - from;
      const uint8_t* w = weights.at + size_t(from) * (N * 32);
      for (; from < to; ++from, w += N * 32) {
        const uint8_t* x = t.in + (t.first + weights.offset[from]);
        __m256i table[P];
        CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p)
          table[p] = _mm256_load_si256(reinterpret_cast<const __m256i*>(kDisagreements.at[x[p * t.pixel_step]]));
        CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
          const __m256i nibbles = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + n * 32));
          CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p)
            sum[p][n] = _mm256_add_epi8(sum[p][n], _mm256_shuffle_epi8(table[p], nibbles));
        }
      }
      if (room) continue;
      room = kMost;
      CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p) {
        CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
          even[p][n] = _mm256_add_epi16(even[p][n], _mm256_and_si256(sum[p][n], byte_mask));
          odd[p][n] = _mm256_add_epi16(odd[p][n], _mm256_srli_epi16(sum[p][n], 8));
          sum[p][n] = _mm256_setzero_si256();
        }
      }
    }
  }
  CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p) {
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
      const __m256i e = _mm256_add_epi16(even[p][n], _mm256_and_si256(sum[p][n], byte_mask));
      const __m256i o = _mm256_add_epi16(odd[p][n], _mm256_srli_epi16(sum[p][n], 8));
      const __m128i evens = _mm_add_epi16(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
      const __m128i odds = _mm_add_epi16(_mm256_castsi256_si128(o), _mm256_extracti128_si256(o, 1));
      __m256i* to = reinterpret_cast<__m256i*>(counts + (p * N + n) * 16);
      _mm256_store_si256(to, _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(evens, odds)));
      _mm256_store_si256(to + 1, _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(evens, odds)));
    }
  }
}

}  // namespace
}  // namespace camfit
