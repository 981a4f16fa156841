#include "../plain.h"

namespace camfit {
namespace plain {

void depthwise(const Window& w, const float* in, const float* weights, const Epilogue& epilogue, float* out,
               Range rows) {
  const int channels = w.in.channels;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      float* to = out + (size_t(oy) * w.out.width + ox) * channels;
      for (int c = 0; c < channels; ++c) to[c] = 0.0f;
      for (int ky = 0; ky < w.kernel_h; ++ky) {
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
          const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
          if (iy < 0 || iy >= w.in.height || ix < 0 || ix >= w.in.width) continue;
          const float* pixel = in + (size_t(iy) * w.in.width + ix) * channels;
          const float* tap = weights + (size_t(ky) * w.kernel_w + kx) * channels;
          for (int c = 0; c < channels; ++c) to[c] += pixel[c] * tap[c];
        }
      }
      for (int c = 0; c < channels; ++c) to[c] = finish(to[c], epilogue, c);
    }
  }
}

}  // namespace plain
}  // namespace camfit
