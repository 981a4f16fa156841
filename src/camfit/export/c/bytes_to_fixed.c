#include <stdint.h>

#include "requantize.c"

static void bytes_to_fixed(int32_t count, const int8_layer *l, const uint8_t *in, int32_t *out) {
  int32_t i;
  for (i = 0; i < count; ++i) out[i] = requantize(in[i] - l->in_zero, l, 0);
}
