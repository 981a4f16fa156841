#include <stdint.h>

#include "int8_store.c"
#include "output_range.c"
#include "sparse_stream.c"
#include "window.h"

/* As conv2d_sparse: each weight is read once, and its products are added to the `sums` of all pixels of its channel. */
static void int8_add_tap(const window *w, const uint8_t *in, int32_t zero, int32_t *sums, int32_t channel, int32_t tap,
                         int32_t weight) {
  const int32_t cin = w->in_c / w->groups, kernel = tap / cin;
  const int32_t in_channel = channel / (w->out_c / w->groups) * cin + tap % cin;
  const int32_t origin_y = kernel / w->kernel_w * w->dilation_h - w->pad_top;
  const int32_t origin_x = kernel % w->kernel_w * w->dilation_w - w->pad_left;
  const range rows = output_range(origin_y, w->stride_h, w->in_h, w->out_h);
  const range columns = output_range(origin_x, w->stride_w, w->in_w, w->out_w);
  int32_t y, x;
  for (y = rows.first; y < rows.last; ++y) {
    const uint8_t *from = in + (y * w->stride_h + origin_y) * w->in_w * w->in_c + in_channel;
    for (x = columns.first; x < columns.last; ++x)
      sums[y * w->out_w + x] += (from[(x * w->stride_w + origin_x) * w->in_c] - zero) * weight;
  }
}

static void int8_conv2d_sparse(const window *w, const sparse_matrix *weights, const int8_layer *l, int32_t *sums,
                               const uint8_t *in, uint8_t *out) {
  const int32_t pixels = w->out_h * w->out_w;
  sparse_reader reader;
  int32_t o, p, tap, value;
  open_stream(&reader, weights);
  for (o = 0; o < w->out_c; ++o) {
    for (p = 0; p < pixels; ++p) sums[p] = bias_of(l, o);
    while (next_in_row(&reader, &tap, &value))
      int8_add_tap(w, in, l->in_zero, sums, o, tap, weights->integers[value]);
    for (p = 0; p < pixels; ++p) int8_store(sums[p], l, o, out, p * w->out_c + o);
  }
}
