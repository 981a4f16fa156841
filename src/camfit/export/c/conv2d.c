#include <stdint.h>

#include "finish.c"
#include "window.h"

/* Weights [out channel][kernel row][kernel column][channel of the group]. */
static void conv2d(const window *w, const float *weights, const epilogue *e, const float *in, float *out) {
  const int32_t cin = w->in_c / w->groups, cout = w->out_c / w->groups;
  int32_t y, x, o, ky, kx, c;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      const float *weight = weights;
      for (o = 0; o < w->out_c; ++o) {
        float sum = 0.0f;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
          for (kx = 0; kx < w->kernel_w; ++kx, weight += cin) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            const float *pixel;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            pixel = in + (iy * w->in_w + ix) * w->in_c + o / cout * cin;
            for (c = 0; c < cin; ++c) sum += pixel[c] * weight[c];
          }
        }
        *out++ = finish(sum, e, o);
      }
    }
  }
}
