#include <stdint.h>

/* An image of bytes normalised and quantized: table [channel][value]. */
static void look_up(int32_t pixels, int32_t channels, const uint8_t *table, const uint8_t *in, uint8_t *out) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p)
    for (c = 0; c < channels; ++c) *out++ = table[c * 256 + *in++];
}
