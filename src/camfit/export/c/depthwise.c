#include <stdint.h>

#include "finish.c"
#include "window.h"

/* One kernel a channel. Weights [kernel row][kernel column][channel]. */
static void depthwise(const window *w, const float *weights, const epilogue *e, const float *in, float *out) {
  const int32_t channels = w->in_c;
  int32_t y, x, ky, kx, c;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x, out += channels) {
      for (c = 0; c < channels; ++c) out[c] = 0.0f;
      for (ky = 0; ky < w->kernel_h; ++ky) {
        const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
        for (kx = 0; kx < w->kernel_w; ++kx) {
          const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
          const float *pixel, *tap = weights + (ky * w->kernel_w + kx) * channels;
          if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
          pixel = in + (iy * w->in_w + ix) * channels;
          for (c = 0; c < channels; ++c) out[c] += pixel[c] * tap[c];
        }
      }
      for (c = 0; c < channels; ++c) out[c] = finish(out[c], e, c);
    }
  }
}
