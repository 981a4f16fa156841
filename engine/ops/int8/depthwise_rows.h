// What the depthwise kernels of 3 x 3 taps share: which rows a row of windows reads, where an image ends, and vectors that
// hold several pixels. A kernel V handles V::kBytes bytes of an output row at a time:
//   Column              one column of taps of that many channels, of up to four rows;
//   column(rows, at)    makes it of the bytes at `at` of four rows; outside(zero): all of the padding;
//   Constants           what the channels from one on need, or fewer channels again and again;
//   Bounds              the bounds of all outputs;
//   windows<two>(...)   the outputs of one window, or of it and the one below, at out[0] + at and out[1] + at.
#pragma once
#include "padded.h"

namespace camfit {
namespace {

// The input rows of one or two rows of windows, the fourth only for the second; windows begin `left` pixels before them.
struct TapRows {
  const uint8_t* rows[4];
  int left, width, zero;
};

// Four neighbouring channels of a row of pixels, from byte `first` on, with what belongs to them.
struct RepeatedChannels {
  int16_t pairs[6][4][2];  // as int8.h orders them
  int32_t bias[4], multiplier[4], shift[4];
  RepeatedChannels(const int16_t* all, size_t padded, const Requantize& to, int channels, int first) {
    for (int lane = 0; lane < 4; ++lane) {
      const size_t c = size_t((first + lane) % channels);
      for (size_t tap = 0; tap < 6; ++tap)
        memcpy(pairs[tap][lane], all + 2 * (tap * padded + c), sizeof pairs[tap][lane]);
      bias[lane] = to.bias[c];
      multiplier[lane] = to.multiplier[c];
      shift[lane] = to.shift[c];
    }
  }
};

// One or two rows of windows of up to V::kBytes channels.
template <class V, int stride, bool two>
void window_rows(const TapRows& from, size_t channels, size_t pixels, const typename V::Constants& k,
                 const Requantize& to, uint8_t* const (&outs)[2], int count) {
  const typename V::Bounds bounds(to);
  const typename V::Column outside = V::outside(from.zero);
  const uint8_t* const rows[4] = {from.rows[0], from.rows[1], from.rows[2], from.rows[3]};
  uint8_t* const out[2] = {outs[0], outs[1]};
  const int left = from.left, width = from.width;
  const auto column = [&](int x) __attribute__((always_inline)) {
    if (x >= 0 && x < width) return V::column(rows, ptrdiff_t(x) * ptrdiff_t(channels));
    return outside;
  };
  typename V::Column first = column(-left), second = stride == 1 ? column(1 - left) : first;
  int x = 2 - left;
  for (size_t i = 0; i < pixels; ++i, x += stride) {
    if (stride == 2) second = column(x - 1);
    const typename V::Column third = column(x);
    V::template windows<two>(first, second, third, k, bounds, out, i * channels, count);
    first = stride == 1 ? second : third;
    second = third;
  }
}

// The same with stride 1 where a vector holds the channels of several pixels, which are `bytes` together. The rows have
// their padding.
template <class V, bool two>
void window_rows_flat(const TapRows& from, size_t channels, size_t pixels, const typename V::Constants& k,
                      const Requantize& to, uint8_t* const (&outs)[2], size_t bytes) {
  const typename V::Bounds bounds(to);
  const uint8_t* const rows[4] = {from.rows[0], from.rows[1], from.rows[2], from.rows[3]};
  uint8_t* const out[2] = {outs[0], outs[1]};
  for (size_t at = 0, end = pixels * channels; at < end; at += bytes) {
    const auto column = [&](size_t x) { return V::column(rows, ptrdiff_t(at + x * channels)); };
    const int count = int(end - at < bytes ? end - at : bytes);
    V::template windows<two>(column(0), column(1), column(2), k, bounds, out, at, count);
  }
}

// What depthwise_3x3 takes: bytes out of blocks that are all `high`.
inline bool is_depthwise_3x3(const Window& w, const Requantize& to) {
  if (w.kernel_h != 3 || w.kernel_w != 3 || w.dilation_w != 1 || w.stride_w > 2 || !to.blocks) return false;
  for (int block = 0; block < ceil_div(w.in.channels, kPanel); ++block)
    if (!to.blocks[block].high) return false;
  return true;
}

// Output rows of a depthwise convolution.
struct DepthwiseRows {
  const Window& w;
  const uint8_t* in;
  int zero;
  const int16_t* pairs;
  const Requantize& to;
  uint8_t* out;
  Range rows;
  const uint8_t* padding;  // a row of the input that is all `zero`

  size_t channels() const { return size_t(w.in.channels); }
  size_t padded() const { return size_t(ceil_div(w.in.channels, kPanel)) * kPanel; }

  // Calls kernel(rows of taps, outputs) for all rows, in pairs where they overlap. `row` is where an input row lies.
  template <class Row, class Kernel>
  void for_rows(const Row& row, const Kernel& kernel) const {
    const bool two = w.stride_h == 1 && w.dilation_h == 1;
    const size_t out_row = size_t(w.out.width) * channels();
    for (int y = rows.begin; y < rows.end; y += two ? 2 : 1) {
      const bool both = two && y + 1 < rows.end;
      const int top = y * w.stride_h - w.pad_top, below = w.dilation_h;
      const TapRows taps = {{row(top), row(top + below), row(top + 2 * below), row(both ? top + 3 : top + 2 * below)},
                            w.pad_left, w.in.width, zero};
      uint8_t* to_row = out + size_t(y) * out_row;
      kernel(taps, {to_row, both ? to_row + out_row : nullptr});
    }
  }

  template <class V>
  void channels_from(int c) const {
    const int count = w.in.channels - c < V::kBytes ? w.in.channels - c : V::kBytes;
    const typename V::Constants constants(pairs, padded(), to, c, w.in.channels);
    const auto row = [&](int y) {
      return (y >= 0 && y < w.in.height ? in + size_t(y) * size_t(w.in.width) * channels() : padding) + c;
    };
    for_rows(row, [&](const TapRows& taps, uint8_t* const(&outs)[2]) {
      uint8_t* const from_c[2] = {outs[0] + c, outs[1] ? outs[1] + c : nullptr};
      const auto kernel = w.stride_w == 2 ? (outs[1] ? window_rows<V, 2, true> : window_rows<V, 2, false>)
                                          : (outs[1] ? window_rows<V, 1, true> : window_rows<V, 1, false>);
      kernel(taps, channels(), size_t(w.out.width), constants, to, from_c, count);
    });
  }

  template <class V>
  void run_flat(const Band& band) const {
    const typename V::Constants constants(pairs, padded(), to, w.in.channels);
    const int first = rows.begin * w.stride_h - w.pad_top;
    const auto row = [&](int y) { return band.origin + size_t(y - first) * band.row; };
    for_rows(row, [&](const TapRows& taps, uint8_t* const(&outs)[2]) {
      const auto kernel = outs[1] ? window_rows_flat<V, true> : window_rows_flat<V, false>;
      kernel(taps, channels(), size_t(w.out.width), constants, to, outs, size_t(V::kBytes) / channels() * channels());
    });
  }
};

// `Set`: Flat, the kernel where there are fewer than kFlatBelow channels, and run(rows), which handles all channels.
template <class Set>
void depthwise_3x3(const Window& w, const uint8_t* in, int zero, const int16_t* pairs, const Requantize& to, uint8_t* out,
                   Range rows, uint8_t* scratch) {
  if (w.stride_w == 1 && w.in.channels < Set::kFlatBelow) {
    const int most = band_rows(w);
    for (int begin = rows.begin; begin < rows.end; begin += most) {
      const Range part = {begin, begin + most < rows.end ? begin + most : rows.end};
      const Band band = make_band(w, in, zero, part, scratch);
      DepthwiseRows{w, in, zero, pairs, to, out, part, nullptr}.template run_flat<typename Set::Flat>(band);
    }
    return;
  }
  if (has_padding(w)) memset(scratch, zero, size_t(w.in.width) * size_t(w.in.channels));
  Set::run(DepthwiseRows{w, in, zero, pairs, to, out, rows, scratch});
}

}  // namespace
}  // namespace camfit
