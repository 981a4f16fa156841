// Vectors of channels; the sums and maxima run in the same order as in reference.cpp.
#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

struct Largest {
  static __m256 start() { return _mm256_set1_ps(-__builtin_inff()); }
  static __m256 join(__m256 best, __m256 value) { return _mm256_max_ps(value, best); }
  static __m256 end(__m256 best, __m256) { return best; }
};
struct Mean {
  static __m256 start() { return _mm256_setzero_ps(); }
  static __m256 join(__m256 sum, __m256 value) { return _mm256_add_ps(sum, value); }
  static __m256 end(__m256 sum, __m256 count) { return _mm256_div_ps(sum, count); }
};

// Joins `height` rows of `width` pixels that begin at `in`, rows `row_step` floats apart.
template <typename Join>
void window_at(const float* in, int height, int width, size_t row_step, int channels, float count, float* out) {
  const __m256 divisor = _mm256_set1_ps(count);
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    __m256 joined = Join::start();
    for (int y = 0; y < height; ++y) {
      const float* pixel = in + size_t(y) * row_step + c;
      for (int x = 0; x < width; ++x, pixel += channels) joined = Join::join(joined, _mm256_loadu_ps(pixel));
    }
    _mm256_storeu_ps(out + c, Join::end(joined, divisor));
  }
  if (c == channels) return;
  const __m256i mask = lane_mask(channels - c);
  __m256 joined = Join::start();
  for (int y = 0; y < height; ++y) {
    const float* pixel = in + size_t(y) * row_step + c;
    for (int x = 0; x < width; ++x, pixel += channels) joined = Join::join(joined, _mm256_maskload_ps(pixel, mask));
  }
  _mm256_maskstore_ps(out + c, mask, Join::end(joined, divisor));
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

}  // namespace avx2
}  // namespace camfit
#endif
