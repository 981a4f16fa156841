#include <stdint.h>

#include "int8_add_products.c"
#include "int8_store.c"
#include "window.h"

/* Weights [block of out channels][kernel row][kernel column][channel of the group][out channel of the block]. */
static void int8_conv2d(const window *w, const int8_t *weights, const int8_layer *l, const uint8_t *in, uint8_t *out) {
  const int32_t cin = w->in_c / w->groups, cout = w->out_c / w->groups;
  int32_t y, x, o, ky, kx, i, block, at = 0;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      const int8_t *weight = weights;
      for (o = 0; o < w->out_c; o += block) {
        const int32_t left = cout - o % cout;
        int32_t sum[INT8_BLOCK];
        block = left < INT8_BLOCK ? left : INT8_BLOCK;
        for (i = 0; i < INT8_BLOCK; ++i) sum[i] = i < block ? bias_of(l, o + i) : 0;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
          for (kx = 0; kx < w->kernel_w; ++kx, weight += block * cin) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            int8_add_products(sum, block, cin, l->in_zero, in + (iy * w->in_w + ix) * w->in_c + o / cout * cin, weight);
          }
        }
        for (i = 0; i < block; ++i) int8_store(sum[i], l, o + i, out, at++);
      }
    }
  }
}
