#include <stdint.h>

#include "add_products.c"
#include "finish.c"
#include "window.h"

/* Weights [block of out channels][kernel row][kernel column][channel of the group][out channel of the block]. */
static void conv2d(const window *w, const float *weights, const epilogue *e, const float *in, float *out) {
  const int32_t cin = w->in_c / w->groups, cout = w->out_c / w->groups;
  int32_t y, x, o, ky, kx, i, block;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      const float *weight = weights;
      for (o = 0; o < w->out_c; o += block) {
        const int32_t left = cout - o % cout;
        float sum[BLOCK] = {0.0f, 0.0f, 0.0f, 0.0f};
        block = left < BLOCK ? left : BLOCK;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
          for (kx = 0; kx < w->kernel_w; ++kx, weight += block * cin) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            add_products(sum, block, cin, in + (iy * w->in_w + ix) * w->in_c + o / cout * cin, weight);
          }
        }
        for (i = 0; i < block; ++i) *out++ = finish(sum[i], e, o + i);
      }
    }
  }
}
