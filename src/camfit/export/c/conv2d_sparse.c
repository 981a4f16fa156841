#include <stdint.h>

#include "add_tap.c"
#include "channel_sums.c"
#include "sparse_stream.c"

/* Rows of the matrix are output channels, its columns (kernel row, kernel column, channel of the group). */
static void conv2d_sparse(const window *w, const sparse_matrix *weights, const epilogue *e, const float *in,
                          float *out) {
  sparse_reader reader;
  int32_t o, tap, value;
  open_stream(&reader, weights);
  for (o = 0; o < w->out_c; ++o) {
    clear_channel(w, out, o);
    while (next_in_row(&reader, &tap, &value)) add_tap(w, in, out, o, tap, weights->values[value]);
    finish_channel(w, e, out, o);
  }
}
