// Vectors of channels, and several neighbouring pixels of a row at once, so that each weight is loaded once for all.
// Where a kernel is three wide with stride 1 or 2, as nearly all are, they also share the inputs that they overlap in.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

// What one group of pixels reads: its first valid tap, and the steps from tap to tap and pixel to pixel, in floats.
struct Taps {
  const float *in, *weights;
  Range ky, kx;
  size_t row_step, column_step, pixel_step, weight_row_step;
};

template <int P, int V, bool kTail>
void channels_at(const Taps& t, int channels, int c, const Epilogue& epilogue, float* out, Vec::Mask mask) {
  Vec sum[P][V];
  CAMFIT_UNROLL(4) for (int i = 0; i < P; ++i)
    CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) sum[i][v] = Vec::zero();
  const float *row = t.in + c, *weight_row = t.weights + c;
  for (int ky = t.ky.begin; ky < t.ky.end; ++ky, row += t.row_step, weight_row += t.weight_row_step) {
    const float *x = row, *tap = weight_row;
    for (int kx = t.kx.begin; kx < t.kx.end; ++kx, x += t.column_step, tap += channels) {
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) {
        const Vec weight = kTail ? Vec::load(tap, mask) : Vec::load(tap + v * Vec::kLanes);
        CAMFIT_UNROLL(4) for (int i = 0; i < P; ++i) {
          const float* from = x + i * t.pixel_step + v * Vec::kLanes;
          const Vec value = kTail ? Vec::load(from, mask) : Vec::load(from);
          sum[i][v] = fma(value, weight, sum[i][v]);
        }
      }
    }
  }
  CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) {
    const Finish finish = kTail ? Finish(epilogue, c, mask) : Finish(epilogue, c + v * Vec::kLanes);
    float* to = out + c + v * Vec::kLanes;
    CAMFIT_UNROLL(4) for (int i = 0; i < P; ++i, to += channels) {
      if (kTail)
        finish(sum[i][v]).store(to, mask);
      else
        finish(sum[i][v]).store(to);
    }
  }
}

// A vector of channels (or a tail of fewer) of P pixels whose taps are all valid in x, kernel_w = 3, stride_w = S.
template <int P, int S, bool kTail>
void three_wide_at(const Taps& t, int channels, int c, const Epilogue& epilogue, float* out, Vec::Mask mask) {
  const auto load = [mask](const float* from) {
    return kTail ? Vec::load(from, mask) : Vec::load(from);
  };
  Vec sum[P];
  CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) sum[i] = Vec::zero();
  const float *row = t.in + c, *tap = t.weights + c;
  for (int ky = t.ky.begin; ky < t.ky.end; ++ky, row += t.row_step, tap += t.weight_row_step) {
    const Vec weight[3] = {load(tap), load(tap + channels), load(tap + 2 * channels)};
    const float* x = row;
    CAMFIT_UNROLL(17) for (int j = 0; j < (P - 1) * S + 3; ++j, x += channels) {
      const Vec value = load(x);
      CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i)
        if (j - i * S >= 0 && j - i * S < 3) sum[i] = fma(value, weight[j - i * S], sum[i]);
    }
  }
  const Finish finish = kTail ? Finish(epilogue, c, mask) : Finish(epilogue, c);
  out += c;
  CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i, out += channels) {
    if (kTail)
      finish(sum[i]).store(out, mask);
    else
      finish(sum[i]).store(out);
  }
}

template <int P, int S>
void three_wide(const Taps& t, int channels, const Epilogue& epilogue, float* out) {
  int c = 0;
  for (; c + Vec::kLanes <= channels; c += Vec::kLanes)
    three_wide_at<P, S, false>(t, channels, c, epilogue, out, Vec::mask(0));
  if (c < channels) three_wide_at<P, S, true>(t, channels, c, epilogue, out, Vec::mask(channels - c));
}

template <int P>
void pixels_at(const Taps& t, int channels, const Epilogue& epilogue, float* out) {
  const Vec::Mask none = Vec::mask(0);
  int c = 0;
  for (; c + 2 * Vec::kLanes <= channels; c += 2 * Vec::kLanes) channels_at<P, 2, false>(t, channels, c, epilogue, out, none);
  for (; c + Vec::kLanes <= channels; c += Vec::kLanes) channels_at<P, 1, false>(t, channels, c, epilogue, out, none);
  if (c < channels) channels_at<P, 1, true>(t, channels, c, epilogue, out, Vec::mask(channels - c));
}

}  // namespace

void depthwise(const Window& w, const float* in, const float* weights, const Epilogue& epilogue, float* out,
               Range rows) {
  const int channels = w.in.channels;
  const Range inside = interior(w.out.width, w.kernel_w, w.stride_w, w.pad_left, w.dilation_w, w.in.width);
  const bool three = w.kernel_w == 3 && w.dilation_w == 1 && w.stride_w <= 2;
  const auto four = !three ? pixels_at<4> : w.stride_w == 1 ? three_wide<4, 1> : three_wide<4, 2>;
  const auto eight = w.stride_w == 1 ? three_wide<8, 1> : three_wide<8, 2>;
  Taps t;
  t.row_step = size_t(w.dilation_h) * w.in.width * channels;
  t.column_step = size_t(w.dilation_w) * channels;
  t.pixel_step = size_t(w.stride_w) * channels;
  t.weight_row_step = size_t(w.kernel_w) * channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    t.ky = valid_taps(iy, w.kernel_h, w.dilation_h, w.in.height);
    for (int ox = 0; ox < w.out.width;) {
      const int left = ox >= inside.begin ? inside.end - ox : 0;  // inside the image in x, this pixel included
      const int count = three && left >= 8 ? 8 : left > 0 && inside.end - inside.begin >= 4 ? 4 : 1;
      // The last four of a row go back over pixels that are done, rather than leave some to go one by one.
      if (count == 4 && left < 4) ox = inside.end - 4;
      const int ix = ox * w.stride_w - w.pad_left;
      t.kx = valid_taps(ix, w.kernel_w, w.dilation_w, w.in.width);
      const bool empty = t.ky.begin == t.ky.end || t.kx.begin == t.kx.end;
      const int y = iy + t.ky.begin * w.dilation_h, x = ix + t.kx.begin * w.dilation_w;
      t.in = empty ? in : in + (size_t(y) * w.in.width + x) * channels;
      t.weights = weights + (size_t(t.ky.begin) * w.kernel_w + t.kx.begin) * channels;
      float* to = out + (size_t(oy) * w.out.width + ox) * channels;
      (count == 8 ? eight : count == 4 ? four : pixels_at<1>)(t, channels, epilogue, to);
      ox += count;
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
