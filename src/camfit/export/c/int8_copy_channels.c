#include <stdint.h>

/* One input of a concatenation: `out` points to its first channel in the first pixel. */
static void int8_copy_channels(int32_t pixels, int32_t in_c, int32_t out_c, const uint8_t *in, uint8_t *out) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p, out += out_c)
    for (c = 0; c < in_c; ++c) out[c] = *in++;
}
