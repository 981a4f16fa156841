#include <stdint.h>

static void int8_activation(int32_t count, int32_t low, int32_t high, const uint8_t *in, uint8_t *out) {
  int32_t i;
  for (i = 0; i < count; ++i) out[i] = (uint8_t)(in[i] < low ? low : in[i] > high ? high : in[i]);
}
