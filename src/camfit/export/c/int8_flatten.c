#include <stdint.h>

/* Height x width x channels to channels x height x width. */
static void int8_flatten(int32_t pixels, int32_t channels, const uint8_t *in, uint8_t *out) {
  int32_t p, c;
  for (c = 0; c < channels; ++c)
    for (p = 0; p < pixels; ++p) *out++ = in[p * channels + c];
}
