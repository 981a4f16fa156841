#include <stdint.h>

#include "requantize.c"

static void int8_global_avg_pool(int32_t pixels, int32_t channels, const int8_layer *l, const uint8_t *in,
                                 uint8_t *out) {
  int32_t p, c;
  for (c = 0; c < channels; ++c) {
    int32_t sum = 0;
    for (p = 0; p < pixels; ++p) sum += in[p * channels + c] - l->in_zero;
    out[c] = (uint8_t)requantize(sum, l, 0);
  }
}
