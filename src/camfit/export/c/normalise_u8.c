#include <stdint.h>

static void normalise_u8(int32_t pixels, int32_t channels, const float *scale, const float *shift, const uint8_t *in,
                         float *out) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p)
    for (c = 0; c < channels; ++c) *out++ = (float)*in++ * scale[c] + shift[c];
}
