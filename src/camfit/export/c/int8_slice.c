#include <stdint.h>

static void int8_slice(int32_t pixels, int32_t channels, int32_t first, int32_t count, const uint8_t *in, uint8_t *out) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p)
    for (c = 0; c < count; ++c) out[p * count + c] = in[p * channels + first + c];
}
