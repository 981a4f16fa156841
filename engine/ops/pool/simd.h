// Vectors of channels; the sums and maxima run in the same order as in reference.cpp.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

struct Largest {
  static Vec start() { return Vec::all(-__builtin_inff()); }
  static Vec join(Vec best, Vec value) { return max(value, best); }
  static Vec end(Vec best, Vec) { return best; }
};
struct Mean {
  static Vec start() { return Vec::zero(); }
  static Vec join(Vec sum, Vec value) { return sum + value; }
  static Vec end(Vec sum, Vec count) { return sum / count; }
};

// A window: `height` rows of `width` pixels that begin at `in`, rows `row_step` floats apart.
struct Pixels {
  const float* in;
  int height, width;
  size_t row_step;
  int channels;
};

// Joins N vectors of channels from channel c on; the last of a tail is masked.
template <typename Join, int N, bool kTail>
void vectors_at(const Pixels& window, int c, Vec divisor, float* out, Vec::Mask mask) {
  Vec joined[N];
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) joined[n] = Join::start();
  for (int y = 0; y < window.height; ++y) {
    const float* pixel = window.in + size_t(y) * window.row_step + c;
    for (int x = 0; x < window.width; ++x, pixel += window.channels)
      CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
        const float* from = pixel + n * Vec::kLanes;
        joined[n] = Join::join(joined[n], kTail ? Vec::load(from, mask) : Vec::load(from));
      }
  }
  CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
    const Vec result = Join::end(joined[n], divisor);
    kTail ? result.store(out + c + n * Vec::kLanes, mask) : result.store(out + c + n * Vec::kLanes);
  }
}

template <typename Join>
void window_at(const float* in, int height, int width, size_t row_step, int channels, float count, float* out) {
  const Pixels window = {in, height, width, row_step, channels};
  const Vec divisor = Vec::all(count);
  const Vec::Mask all = Vec::mask(Vec::kLanes);
  int c = 0;
  for (; c + 4 * Vec::kLanes <= channels; c += 4 * Vec::kLanes)
    vectors_at<Join, 4, false>(window, c, divisor, out, all);
  for (; c + Vec::kLanes <= channels; c += Vec::kLanes) vectors_at<Join, 1, false>(window, c, divisor, out, all);
  if (c < channels) vectors_at<Join, 1, true>(window, c, divisor, out, Vec::mask(channels - c));
}

template <typename Join>
void pool(const Window& w, const float* in, bool count_all, float* out, Range rows) {
  const int channels = w.in.channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height);
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int ix = ox * w.stride_w - w.pad_left;
      const Range kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      const int height = ky.end - ky.begin, width = kx.end - kx.begin;
      const bool empty = height == 0 || width == 0;
      const float* from =
          empty ? in : in + (size_t(iy + ky.begin) * w.in.width + (ix + kx.begin)) * channels;
      window_at<Join>(from, height, width, size_t(w.in.width) * channels, channels,
                      float(count_all ? w.kernel_h * w.kernel_w : height * width),
                      out + (size_t(oy) * w.out.width + ox) * channels);
    }
  }
}

}  // namespace

void max_pool(const Window& w, const float* in, float* out, Range rows) { pool<Largest>(w, in, true, out, rows); }

void avg_pool(const Window& w, const float* in, bool count_include_pad, float* out, Range rows) {
  pool<Mean>(w, in, count_include_pad, out, rows);
}

void global_avg_pool(const Shape& shape, const float* in, float* out) {
  window_at<Mean>(in, shape.height, shape.width, size_t(shape.width) * shape.channels, shape.channels,
                  float(size_t(shape.height) * shape.width), out);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
