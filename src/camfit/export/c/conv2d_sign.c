#include <stdint.h>

#include "add_tap.c"
#include "channel_sums.c"
#include "sign_matrix.c"

/* Columns are (kernel row, kernel column, channel of the group). */
static void conv2d_sign(const window *w, const sign_matrix *weights, const epilogue *e, const float *in, float *out) {
  int32_t o, tap;
  for (o = 0; o < w->out_c; ++o) {
    clear_channel(w, out, o);
    for (tap = 0; tap < weights->columns; ++tap) add_tap(w, in, out, o, tap, sign_weight(weights, o, tap));
    finish_channel(w, e, out, o);
  }
}
