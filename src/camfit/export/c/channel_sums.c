#include <stdint.h>

#include "finish.c"
#include "window.h"

/* Before and after the taps of one output channel: its sums are 0, then become its outputs. */
static void clear_channel(const window *w, float *out, int32_t channel) {
  int32_t p;
  for (p = 0; p < w->out_h * w->out_w; ++p) out[p * w->out_c + channel] = 0.0f;
}

static void finish_channel(const window *w, const epilogue *e, float *out, int32_t channel) {
  int32_t p;
  for (p = 0; p < w->out_h * w->out_w; ++p) {
    float *y = out + p * w->out_c + channel;
    *y = finish(*y, e, channel);
  }
}
