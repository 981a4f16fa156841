#include <stdint.h>
#include <string.h>

#include "requantize.c"

static void sums_to_fixed(int32_t pixels, int32_t channels, const int8_layer *l, const uint8_t *in, int32_t *out) {
  int32_t p, c, sum;
  for (p = 0; p < pixels; ++p) {
    for (c = 0; c < channels; ++c, in += sizeof sum) {
      memcpy(&sum, in, sizeof sum);
      *out++ = requantize(sum, l, c);
    }
  }
}
