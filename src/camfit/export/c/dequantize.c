#include <stdint.h>

static void dequantize(int32_t count, float scale, int32_t zero, const uint8_t *in, float *out) {
  int32_t i;
  for (i = 0; i < count; ++i) out[i] = scale * (float)(in[i] - zero);
}
