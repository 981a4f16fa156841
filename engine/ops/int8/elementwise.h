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

// Of the rows of `count` bytes that begin at a and b, the larger of each two.
inline void larger(const uint8_t* a, uint8_t* b, size_t count) {
  for (size_t i = 0; i < count; ++i) b[i] = a[i] > b[i] ? a[i] : b[i];
}

void max_pool(const Window& w, const uint8_t* in, uint8_t* out, Range rows) {
  const size_t channels = size_t(w.in.channels), width = size_t(w.in.width);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height), kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      uint8_t* to = out + (size_t(oy) * size_t(w.out.width) + size_t(ox)) * channels;
      memset(to, 0, channels);
      for (int y = iy + ky.begin; y < iy + ky.end; ++y)
        for (int x = ix + kx.begin; x < ix + kx.end; ++x) larger(in + (size_t(y) * width + size_t(x)) * channels, to, channels);
    }
  }
}

void avg_pool(const Window& w, const uint8_t* in, int zero, bool count_include_pad, uint8_t* out, Range rows) {
  const int channels = w.in.channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height), kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      const int64_t real = int64_t(ky.end - ky.begin) * (kx.end - kx.begin);
      const int64_t count = count_include_pad ? int64_t(w.kernel_h) * w.kernel_w : real;
      for (int c = 0; c < channels; ++c) {
        int64_t sum = (count - real) * zero;
        for (int y = iy + ky.begin; y < iy + ky.end; ++y)
          for (int x = ix + kx.begin; x < ix + kx.end; ++x) sum += in[(size_t(y) * w.in.width + x) * channels + c];
        out[(size_t(oy) * w.out.width + ox) * channels + c] = uint8_t((2 * sum + count) / (2 * count));
      }
    }
  }
}

void global_avg_pool(const Shape& shape, const uint8_t* in, const Requantize& to, uint8_t* out) {
  constexpr int kTogether = 64;
  const size_t pixels = size_t(shape.height) * shape.width, channels = size_t(shape.channels);
  for (size_t c = 0; c < channels; c += kTogether) {
    const size_t count = channels - c < kTogether ? channels - c : kTogether;
    int32_t sums[kTogether] = {};
    for (size_t p = 0; p < pixels; ++p)
      for (size_t i = 0; i < count; ++i) sums[i] += in[p * channels + c + i];
    for (size_t i = 0; i < count; ++i) out[c + i] = requantize_one(sums[i], to, *to.bias, *to.multiplier, *to.shift);
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

// The table of a set whose own kernels are these.
#define CAMFIT_INT8_TABLE(extras, scratch, conv2d, depthwise, linear)                                          \
  {                                                                                                            \
    extras, elementwise::quantize, elementwise::dequantize, scratch, conv2d, depthwise, linear,                \
        elementwise::add, elementwise::max_pool, elementwise::avg_pool, elementwise::global_avg_pool,          \
        elementwise::clamp, elementwise::flatten, elementwise::channel_shuffle                                 \
  }

}  // namespace
}  // namespace camfit
