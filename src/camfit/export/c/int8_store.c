#include <stdint.h>
#include <string.h>

#include "requantize.c"

static int32_t bias_of(const int8_layer *l, int32_t channel) { return l->bias ? l->bias[channel] : 0; }

/* Output `at`: a byte, or the four of the sum. */
static void int8_store(int32_t sum, const int8_layer *l, int32_t channel, uint8_t *out, int32_t at) {
  if (l->multiplier)
    out[at] = (uint8_t)requantize(sum, l, channel);
  else
    memcpy(out + at * 4, &sum, sizeof sum);
}
