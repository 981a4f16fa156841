// The integer kernels that the compiler vectorises as they stand; each set compiles its own copy (internal linkage).
#pragma once
#include <string.h>

#include "../window.h"
#include "rounding.h"

namespace camfit {
namespace {
namespace elementwise {

void quantize(const float* in, size_t count, float inverse, int zero, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) out[i] = quantize_one(in[i], inverse, zero);
}

void dequantize(const uint8_t* in, size_t count, const Quantization& from, float* out) {
  const float scale = from.scale;
  const int zero = from.zero;
  for (size_t i = 0; i < count; ++i) out[i] = scale * float(int(in[i]) - zero);
}

void add(const uint8_t* a, const uint8_t* b, const Int8Sum& sum, uint8_t* out, size_t count) {
  const Int8Sum s = sum;
  const int half = 1 << (s.shift - 1);
  for (size_t i = 0; i < count; ++i) {
    const int both = (a[i] - s.a_zero) * s.a_multiplier + (b[i] - s.b_zero) * s.b_multiplier;
    out[i] = uint8_t(clamp_to(s.zero + ((both + half) >> s.shift), s.low, s.high));
  }
}

// Pools go through the channels in blocks of so many, a loop that compilers turn into one vector. A last block that is
// not whole reads on (kInt8Slack) and stores what belongs to it.
constexpr int kTogether = 16;

// For every output pixel and block of channels: pool(first real pixel, its channels, taps, out).
template <class Pool>
void for_each_block(const Window& w, const uint8_t* in, uint8_t* out, Range rows, const Pool& pool) {
  const size_t channels = size_t(w.in.channels), width = size_t(w.in.width);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height), kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      const uint8_t* first = in + (size_t(iy + ky.begin) * width + size_t(ix + kx.begin)) * channels;
      uint8_t* to = out + (size_t(oy) * size_t(w.out.width) + size_t(ox)) * channels;
      for (size_t c = 0; c < channels; c += kTogether) {
        uint8_t block[kTogether];
        pool(first + c, ky.end - ky.begin, kx.end - kx.begin, block);
        if (channels - c >= kTogether) {
          memcpy(to + c, block, kTogether);
        } else {
          memcpy(to + c, block, channels - c);
        }
      }
    }
  }
}

inline void max_pool(const Window& w, const uint8_t* in, uint8_t* out, Range rows) {
  const size_t channels = size_t(w.in.channels), below = size_t(w.in.width) * channels;
  for_each_block(w, in, out, rows, [&](const uint8_t* first, int height, int width, uint8_t* best) {
    memcpy(best, first, kTogether);
    for (int y = 0; y < height; ++y) {
      const uint8_t* x = first + size_t(y) * below;
      for (int i = 0; i < width; ++i, x += channels)
        for (int c = 0; c < kTogether; ++c) best[c] = x[c] > best[c] ? x[c] : best[c];
    }
  });
}

// floor((2 sum + count) / (2 count)): the quotient of floats is exact enough, because it lies at least 1 / (2 count) below
// the next integer, which is more than the rounding of a quotient below 256 while count < 2^14; else of doubles.
void avg_pool(const Window& w, const uint8_t* in, int zero, bool count_include_pad, uint8_t* out, Range rows) {
  const size_t channels = size_t(w.in.channels), below = size_t(w.in.width) * channels;
  for_each_block(w, in, out, rows, [&](const uint8_t* first, int height, int width, uint8_t* mean) {
    const int64_t real = int64_t(height) * width;
    const int64_t count = count_include_pad ? int64_t(w.kernel_h) * w.kernel_w : real;
    if (count >= 1 << 14) {
      for (size_t c = 0; c < kTogether; ++c) {
        int64_t sum = (count - real) * zero;
        for (int y = 0; y < height; ++y)
          for (int x = 0; x < width; ++x) sum += first[size_t(y) * below + size_t(x) * channels + c];
        mean[c] = uint8_t((2 * sum + count) / (2 * count));
      }
      return;
    }
    int32_t sums[kTogether];
    for (int c = 0; c < kTogether; ++c) sums[c] = int32_t(count - real) * zero;
    for (int y = 0; y < height; ++y) {
      const uint8_t* x = first + size_t(y) * below;
      for (int i = 0; i < width; ++i, x += channels)
        for (int c = 0; c < kTogether; ++c) sums[c] += x[c];
    }
    const float twice = float(2 * count);
    for (int c = 0; c < kTogether; ++c) mean[c] = uint8_t(int32_t(float(2 * sums[c] + int32_t(count)) / twice));
  });
}

void global_avg_pool(const Shape& shape, const uint8_t* in, const Requantize& to, uint8_t* out) {
  const size_t pixels = size_t(shape.height) * shape.width, channels = size_t(shape.channels);
  for (size_t c = 0; c < channels; c += kTogether) {
    int32_t sums[kTogether] = {};
    for (size_t p = 0; p < pixels; ++p)
      for (size_t i = 0; i < kTogether; ++i) sums[i] += in[p * channels + c + i];
    for (size_t i = 0; i < kTogether && c + i < channels; ++i)
      out[c + i] = requantize_one(sums[i], to, *to.bias, *to.multiplier, *to.shift);
  }
}

void clamp(const uint8_t* in, int low, int high, uint8_t* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = uint8_t(clamp_to(in[i], low, high));
}

void flatten(const Shape& shape, const uint8_t* in, uint8_t* out) {
  const size_t pixels = size_t(shape.height) * shape.width;
  for (int c = 0; c < shape.channels; ++c)
    for (size_t p = 0; p < pixels; ++p) *out++ = in[p * shape.channels + c];
}

void channel_shuffle(const uint8_t* in, int pixels, int channels, int groups, uint8_t* out) {
  const int of_group = channels / groups;
  for (int p = 0; p < pixels; ++p, in += channels)
    for (int j = 0; j < of_group; ++j)
      for (int i = 0; i < groups; ++i) *out++ = in[i * of_group + j];
}

}  // namespace elementwise

// The table of a set whose own kernels are these; `bytes` is the namespace of its sum and pools.
#define CAMFIT_INT8_TABLE(extras, scratch, conv2d, depthwise, linear, shuffle, bytes)                          \
  {                                                                                                            \
    extras, elementwise::quantize, elementwise::dequantize, scratch, conv2d, depthwise, linear, bytes::add,    \
        bytes::max_pool, bytes::avg_pool, elementwise::global_avg_pool, elementwise::clamp,                    \
        elementwise::flatten, shuffle                                                                          \
  }

}  // namespace
}  // namespace camfit
