#include <stdint.h>
#include <string.h>

#include "activate.c"

/* `in` may be where `out` is. */
static void sums_to_floats(int32_t pixels, int32_t channels, const float *scale, int32_t kind, const uint8_t *in,
                           float *out) {
  int32_t p, c, sum;
  for (p = 0; p < pixels; ++p) {
    for (c = 0; c < channels; ++c, in += sizeof sum) {
      memcpy(&sum, in, sizeof sum);
      *out++ = activate((float)sum * scale[c], kind);
    }
  }
}
