#include <stdint.h>

#include "quantize_one.c"

static void quantize(int32_t count, float inverse, int32_t zero, const float *in, uint8_t *out) {
  int32_t i;
  for (i = 0; i < count; ++i) out[i] = quantize_one(in[i], inverse, zero);
}
