#include <stdint.h>

#include "window.h"

static void int8_max_pool(const window *w, const uint8_t *in, uint8_t *out) {
  int32_t y, x, ky, kx, c;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      for (c = 0; c < w->in_c; ++c) {
        uint8_t best = 0;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky;
          for (kx = 0; kx < w->kernel_w; ++kx) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx;
            uint8_t value;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            value = in[(iy * w->in_w + ix) * w->in_c + c];
            best = value > best ? value : best;
          }
        }
        *out++ = best;
      }
    }
  }
}
