#include <stdint.h>

static void int8_channel_shuffle(int32_t pixels, int32_t channels, int32_t groups, const uint8_t *in, uint8_t *out) {
  const int32_t of_group = channels / groups;
  int32_t p, i, j;
  for (p = 0; p < pixels; ++p, in += channels)
    for (j = 0; j < of_group; ++j)
      for (i = 0; i < groups; ++i) *out++ = in[i * of_group + j];
}
