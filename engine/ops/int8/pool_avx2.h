// Pools of bytes, 32 channels at a time, for AVX2 and the sets above it.
#pragma once
#include <immintrin.h>

#include "elementwise.h"

namespace camfit {
namespace {
namespace bytes256 {

constexpr int kChannels = 32;  // a last block that is not whole reads on (kInt8Slack)

inline __m256i load(const uint8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

inline void save(uint8_t* to, __m256i bytes, size_t count) {
  if (count >= size_t(kChannels)) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  uint8_t all[kChannels];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(all), bytes);
  memcpy(to, all, count);
}

// The taps of one window that lie in the image.
struct PoolTaps {
  const uint8_t* first;
  size_t row, pixel;  // bytes from a row to the next, from a pixel to the next
  int height, width;
};

// Calls pool(taps, out) for every output pixel.
template <class Pool>
void for_each_window(const Window& w, const uint8_t* in, uint8_t* out, Range rows, const Pool& pool) {
  const size_t channels = size_t(w.in.channels), row = size_t(w.in.width) * channels;
  out += size_t(rows.begin) * size_t(w.out.width) * channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height);
    for (int ox = 0; ox < w.out.width; ++ox, out += channels) {
      const int ix = ox * w.stride_w - w.pad_left;
      const Range kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      const uint8_t* first = in + size_t(iy + ky.begin) * row + size_t(ix + kx.begin) * channels;
      pool(PoolTaps{first, row, channels, ky.end - ky.begin, kx.end - kx.begin}, out);
    }
  }
}

void max_pool(const Window& w, const uint8_t* in, uint8_t* out, Range rows) {
  const size_t channels = size_t(w.in.channels);
  for_each_window(w, in, out, rows, [&](const PoolTaps& taps, uint8_t* to) {
    for (size_t c = 0; c < channels; c += kChannels) {
      __m256i best = load(taps.first + c);
      for (int y = 0; y < taps.height; ++y) {
        const uint8_t* x = taps.first + size_t(y) * taps.row + c;
        for (int i = 0; i < taps.width; ++i, x += taps.pixel) best = _mm256_max_epu8(best, load(x));
      }
      save(to + c, best, channels - c);
    }
  });
}

// floor(m / count) of 16-bit numbers m < 2^15 with count up to 2^7, as the high half of 2 m * factor, shifted: with
// 2^(shift-1) < count <= 2^shift and factor = ceil(2^(15 + shift) / count), which is below 2^16, factor * count exceeds
// 2^(15 + shift) by less than count, so the error of m * factor / 2^(15 + shift) is below m / 2^15 * 1 / count: too
// small to reach the next integer.
struct Divisor {
  int count, shift;
  uint32_t factor;
  explicit Divisor(int by) : count(by), shift(0) {
    while ((1 << shift) < by) ++shift;
    factor = ((1u << (15 + shift)) + uint32_t(by) - 1) / uint32_t(by);
  }
};

// floor((2 sum + count) / (2 count)) = floor((sum + floor(count / 2)) / count).
void avg_pool(const Window& w, const uint8_t* in, int zero, bool count_include_pad, uint8_t* out, Range rows) {
  constexpr int kMostTaps = 128;  // sums and all that is made of them stay below 2^15
  const int all = w.kernel_h * w.kernel_w;
  if (all > kMostTaps) return elementwise::avg_pool(w, in, zero, count_include_pad, out, rows);
  const size_t channels = size_t(w.in.channels);
  Divisor by(all);
  for_each_window(w, in, out, rows, [&](const PoolTaps& taps, uint8_t* to) {
    const int real = taps.height * taps.width, count = count_include_pad ? all : real;
    if (count != by.count) by = Divisor(count);
    const __m256i start = _mm256_set1_epi16(int16_t((count - real) * zero + count / 2));
    const __m256i factor = _mm256_set1_epi16(int16_t(by.factor)), none = _mm256_setzero_si256();
    const __m128i shift = _mm_cvtsi32_si128(by.shift);
    for (size_t c = 0; c < channels; c += kChannels) {
      __m256i low = start, high = start;
      for (int y = 0; y < taps.height; ++y) {
        const uint8_t* x = taps.first + size_t(y) * taps.row + c;
        for (int i = 0; i < taps.width; ++i, x += taps.pixel) {
          const __m256i bytes = load(x);
          low = _mm256_add_epi16(low, _mm256_unpacklo_epi8(bytes, none));
          high = _mm256_add_epi16(high, _mm256_unpackhi_epi8(bytes, none));
        }
      }
      const auto mean = [&](__m256i sums) {
        return _mm256_srl_epi16(_mm256_mulhi_epu16(_mm256_add_epi16(sums, sums), factor), shift);
      };
      save(to + c, _mm256_packus_epi16(mean(low), mean(high)), channels - c);
    }
  });
}

}  // namespace bytes256
}  // namespace
}  // namespace camfit
