#include <stdint.h>

#include "window.h"

/* XNOR-Net's K: mean_abs under a box of the kernel's size. */
static void box_filter(const window *w, const float *mean_abs, float *out) {
  int32_t y, x, ky, kx;
  for (y = 0; y < w->out_h; ++y) {
    for (x = 0; x < w->out_w; ++x) {
      float sum = 0.0f;
      for (ky = 0; ky < w->kernel_h; ++ky) {
        const int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
        for (kx = 0; kx < w->kernel_w; ++kx) {
          const int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
          if (iy >= 0 && iy < w->in_h && ix >= 0 && ix < w->in_w) sum += mean_abs[iy * w->in_w + ix];
        }
      }
      *out++ = sum / (float)(w->kernel_h * w->kernel_w);
    }
  }
}
