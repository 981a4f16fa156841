#include <stdint.h>

#include "add_tap.c"
#include "channel_sums.c"
#include "hashed_matrix.c"

static void conv2d_hashed(const window *w, const hashed_matrix *weights, const epilogue *e, const float *in,
                          float *out) {
  const int32_t cin = w->in_c / w->groups, kernel = w->kernel_h * w->kernel_w;
  int32_t o, tap;
  for (o = 0; o < w->out_c; ++o) {
    clear_channel(w, out, o);
    for (tap = 0; tap < kernel * cin; ++tap) /* hashes count columns as (channel, kernel row, kernel column) */
      add_tap(w, in, out, o, tap, hashed_weight(weights, o, tap % cin * kernel + tap / cin));
    finish_channel(w, e, out, o);
  }
}
