#include <stdint.h>

#include "quantize_one.c"

/* Normalised and quantized at once: what look_up has in its table. */
static void quantize_input(int32_t pixels, int32_t channels, const float *scale, const float *shift, float inverse,
                           int32_t zero, const float *in, uint8_t *out) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p)
    for (c = 0; c < channels; ++c) *out++ = quantize_one(*in++ * scale[c] + shift[c], inverse, zero);
}
