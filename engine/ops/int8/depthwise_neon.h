// Integer depthwise convolution with NEON. A tap is widened to 16 bits, products are added in 32.
#pragma once
#include "padded.h"
#include "vectors_neon.h"

namespace camfit {
namespace {

constexpr int kEight = 8;  // channels at a time

struct Eight {
  int32x4_t low, high;
  void add(int16x8_t x, int16x8_t w) {
    low = vmlal_s16(low, vget_low_s16(x), vget_low_s16(w));
    high = vmlal_high_s16(high, x, w);
  }
};
inline int16x8_t widen(const uint8_t* at) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(at))); }

// One column of 3 taps.
struct Column {
  int16x8_t row[3];
};

// A row of windows of 3 x 3 taps over 8 channels: a column is widened once and used up to three times. `padded`: the
// channels of the weights.
template <int stride>
void depthwise_3x3(const uint8_t* origin, size_t below, size_t channels, const int16_t* weights, size_t padded,
                   int pixels, const Target& target, size_t c, int count, size_t pixel) {
  Column w[3];
  for (int x = 0; x < 3; ++x) {
    const int16x8x2_t upper = vld2q_s16(weights + size_t(2 * x) * 2 * padded);
    w[x] = Column{upper.val[0], upper.val[1], vld2q_s16(weights + size_t(2 * x + 1) * 2 * padded).val[0]};
  }
  const auto column = [&](size_t x) {
    const uint8_t* at = origin + x * channels;
    return Column{widen(at), widen(at + below), widen(at + 2 * below)};
  };
  Column first = column(0), second = stride == 1 ? column(1) : first;
  for (int x = 0; x < pixels; ++x) {
    const size_t at = size_t(x) * stride;
    if (stride == 2) second = column(at + 1);
    const Column third = column(at + 2);
    Eight sum = {vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int y = 0; y < 3; ++y) {
      sum.add(first.row[y], w[0].row[y]);
      sum.add(second.row[y], w[1].row[y]);
      sum.add(third.row[y], w[2].row[y]);
    }
    store8(target, sum.low, sum.high, c, count, pixel + size_t(x));
    first = stride == 1 ? second : third;
    second = third;
  }
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to,
                    void* out, Range rows, uint8_t* scratch) {
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const size_t column = size_t(w.dilation_w) * channels;
  const Target target = {to, out, channels};
  const bool three = w.kernel_h == 3 && w.kernel_w == 3 && w.dilation_w == 1 && w.stride_w <= 2;
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int pixels, size_t step) {
    const size_t below = band_row * size_t(w.dilation_h);
    for (size_t c = 0; c < channels; c += kEight) {
      const int count = int(channels - c < kEight ? channels - c : kEight);
      const uint8_t* origin = first + c;
      if (three) {
        const auto kernel = w.stride_w == 1 ? depthwise_3x3<1> : depthwise_3x3<2>;
        kernel(origin, below, channels, weights + 2 * c, padded, pixels, target, c, count, pixel);
        continue;
      }
      for (int x = 0; x < pixels; ++x, origin += step) {
        Eight sum = {vdupq_n_s32(0), vdupq_n_s32(0)};
        const int16_t* pair = weights + 2 * c;
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const uint8_t* at = origin + size_t(kx) * column;
          for (int ky = 0; ky < w.kernel_h; ky += 2, at += 2 * below, pair += 2 * padded) {
            const int16x8x2_t both = vld2q_s16(pair);
            sum.add(widen(at), both.val[0]);
            if (ky + 1 < w.kernel_h) sum.add(widen(at + below), both.val[1]);
          }
        }
        store8(target, sum.low, sum.high, c, count, pixel + size_t(x));
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

}  // namespace
}  // namespace camfit
