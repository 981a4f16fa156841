// The channel shuffle of bytes: the groups' channels interleaved, 16 of each at a time. For AVX2 and the sets above it.
#pragma once
#include <immintrin.h>

#include "elementwise.h"

namespace camfit {
namespace {
namespace interleave {

inline __m128i load(const uint8_t* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
inline void save(uint8_t* at, __m128i bytes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(at), bytes); }

// Bytes `first`, `first` + 1, ... of a b c a b c ...: for each of the three, which of its bytes, or none.
struct Third {
  __m128i pick[3];
};
inline Third third(int first) {
  alignas(16) int8_t pick[3][16];
  for (int i = 0; i < 16; ++i)
    for (int g = 0; g < 3; ++g) pick[g][i] = (first + i) % 3 == g ? int8_t((first + i) / 3) : int8_t(-1);
  Third result;
  for (int g = 0; g < 3; ++g) result.pick[g] = _mm_load_si128(reinterpret_cast<const __m128i*>(pick[g]));
  return result;
}

void channel_shuffle(const uint8_t* in, int pixels, int channels, int groups, uint8_t* out) {
  const int of_group = channels / groups;
  if (of_group < 16 || groups < 2 || groups > 3) return elementwise::channel_shuffle(in, pixels, channels, groups, out);
  const Third thirds[3] = {third(0), third(16), third(32)};
  for (int p = 0; p < pixels; ++p, in += channels, out += channels) {
    for (int j = 0; j < of_group; j += 16) {
      const int at = j + 16 <= of_group ? j : of_group - 16;  // the last block overlaps the one before
      const __m128i a = load(in + at), b = load(in + of_group + at);
      uint8_t* to = out + at * groups;
      if (groups == 2) {
        save(to, _mm_unpacklo_epi8(a, b));
        save(to + 16, _mm_unpackhi_epi8(a, b));
        continue;
      }
      const __m128i c = load(in + 2 * of_group + at);
      for (int i = 0; i < 3; ++i) {
        const __m128i ab = _mm_or_si128(_mm_shuffle_epi8(a, thirds[i].pick[0]), _mm_shuffle_epi8(b, thirds[i].pick[1]));
        save(to + 16 * i, _mm_or_si128(ab, _mm_shuffle_epi8(c, thirds[i].pick[2])));
      }
    }
  }
}

}  // namespace interleave
}  // namespace
}  // namespace camfit
