#include <limits>

#include "../plain.h"
#include "../window.h"

namespace camfit {
namespace plain {

void max_pool(const Window& w, const float* in, float* out, Range rows) {
  const int channels = w.in.channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height), kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      for (int c = 0; c < channels; ++c) {
        float best = -std::numeric_limits<float>::infinity();
        for (int y = iy + ky.begin; y < iy + ky.end; ++y) {
          for (int x = ix + kx.begin; x < ix + kx.end; ++x) {
            const float value = in[(size_t(y) * w.in.width + x) * channels + c];
            best = value > best ? value : best;
          }
        }
        out[(size_t(oy) * w.out.width + ox) * channels + c] = best;
      }
    }
  }
}

void avg_pool(const Window& w, const float* in, bool count_include_pad, float* out, Range rows) {
  const int channels = w.in.channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      const Range ky = valid_taps(iy, w.kernel_h, 1, w.in.height), kx = valid_taps(ix, w.kernel_w, 1, w.in.width);
      const int real = (ky.end - ky.begin) * (kx.end - kx.begin);
      const float count = float(count_include_pad ? w.kernel_h * w.kernel_w : real);
      for (int c = 0; c < channels; ++c) {
        float sum = 0.0f;
        for (int y = iy + ky.begin; y < iy + ky.end; ++y)
          for (int x = ix + kx.begin; x < ix + kx.end; ++x) sum += in[(size_t(y) * w.in.width + x) * channels + c];
        out[(size_t(oy) * w.out.width + ox) * channels + c] = sum / count;
      }
    }
  }
}

void global_avg_pool(const Shape& shape, const float* in, float* out) {
  const size_t pixels = size_t(shape.height) * shape.width;
  for (int c = 0; c < shape.channels; ++c) {
    float sum = 0.0f;
    for (size_t p = 0; p < pixels; ++p) sum += in[p * shape.channels + c];
    out[c] = sum / float(pixels);
  }
}

}  // namespace plain
}  // namespace camfit
