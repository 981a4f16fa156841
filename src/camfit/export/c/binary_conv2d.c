#include <stdint.h>

#include "activate.c"
#include "epilogue.h"
#include "fused.c"
#include "vector_at.c"
#include "window.h"
#include "words.c"

static int32_t count_bits(uint32_t x) {
  x -= x >> 1 & 0x55555555u;
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0Fu;
  return (int32_t)(x * 0x01010101u >> 24);
}

/* XNOR-Net (Rastegari et al., 2016) on packed signs; a linear layer is an image of one pixel. Weights [out channel]
 * [kernel row][kernel column][words of 32 channels], scales with alpha in them; `box_mean`, where not null, is K. */
static void binary_conv2d(const window *w, const uint32_t *weights, const epilogue *e, const uint8_t *in,
                          const float *box_mean, float *out) {
  const int32_t words = (w->in_c + 31) / 32;
  int32_t y, x, o, ky, kx, i;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      const float box = box_mean ? box_mean[y * w->out_w + x] : 1.0f;
      const uint32_t *weight = weights;
      for (o = 0; o < w->out_c; ++o) {
        int32_t dot = 0;
        for (ky = 0; ky < w->kernel_h; ++ky) {
          const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
          for (kx = 0; kx < w->kernel_w; ++kx, weight += words) {
            const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            const uint8_t *pixel;
            if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) continue;
            pixel = in + (iy * w->in_w + ix) * words * 4;
            dot += w->in_c;
            for (i = 0; i < words; ++i) dot -= 2 * count_bits(load_word(pixel + 4 * i) ^ weight[i]);
          }
        }
        *out++ = activate(fused(vector_at(e->scale, e->scale_half, o, 1.0f) * box, (float)dot,
                                vector_at(e->bias, e->bias_half, o, 0.0f)), e->activation);
      }
    }
  }
}
