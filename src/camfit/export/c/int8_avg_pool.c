#include <stdint.h>

#include "window.h"

/* Means rounded to the nearest, halves up; padding that counts has the value `zero`. */
static void int8_avg_pool(const window *w, int count_include_pad, int32_t zero, const uint8_t *in, uint8_t *out) {
  int32_t y, x, ky, kx, c;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      for (c = 0; c < w->in_c; ++c) {
        int32_t sum = 0, count = 0;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky;
          for (kx = 0; kx < w->kernel_w; ++kx) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx;
            const int inside = iy >= 0 && iy < w->in_h && ix >= 0 && ix < w->in_w;
            if (!inside && !count_include_pad) continue;
            sum += inside ? in[(iy * w->in_w + ix) * w->in_c + c] : zero;
            ++count;
          }
        }
        *out++ = (uint8_t)((2 * sum + count) / (2 * count));
      }
    }
  }
}
