#include <stdint.h>

#include "output_range.c"
#include "window.h"

/* Adds one weight's products to every pixel of its output channel. A compressed convolution takes its weights one after
 * the other, each once, in the order (kernel row, kernel column, channel) in which the engine sums. */
static void add_tap(const window *w, const float *in, float *out, int32_t channel, int32_t tap, float weight) {
  const int32_t cin = w->in_c / w->groups, kernel = tap / cin;
  const int32_t in_channel = channel / (w->out_c / w->groups) * cin + tap % cin;
  const int32_t origin_y = kernel / w->kernel_w * w->dilation_h - w->pad_top;
  const int32_t origin_x = kernel % w->kernel_w * w->dilation_w - w->pad_left;
  const range rows = output_range(origin_y, w->stride_h, w->in_h, w->out_h);
  const range columns = output_range(origin_x, w->stride_w, w->in_w, w->out_w);
  int32_t y, x;
  for (y = rows.first; y < rows.last; ++y) {
    const float *from = in + (y * w->stride_h + origin_y) * w->in_w * w->in_c + in_channel;
    float *to = out + y * w->out_w * w->out_c + channel;
    for (x = columns.first; x < columns.last; ++x)
      to[x * w->out_c] += from[(x * w->stride_w + origin_x) * w->in_c] * weight;
  }
}
