#include <stdint.h>

#include "int8_store.c"
#include "window.h"

/* One kernel a channel. Weights [kernel row][kernel column][channel]. */
static void int8_depthwise(const window *w, const int8_t *weights, const int8_layer *l, const uint8_t *in,
                           uint8_t *out) {
  const int32_t channels = w->in_c;
  int32_t y, x, ky, kx, c, at = 0;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      for (c = 0; c < channels; ++c) {
        int32_t sum = bias_of(l, c);
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
          for (kx = 0; kx < w->kernel_w; ++kx) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            sum += (in[(iy * w->in_w + ix) * channels + c] - l->in_zero) *
                   weights[(ky * w->kernel_w + kx) * channels + c];
          }
        }
        int8_store(sum, l, c, out, at++);
      }
    }
  }
}
