#include <stdint.h>
#include <string.h>

/* 1 bit a channel, 1 for x >= 0, in words of 32 channels, the tail filled with zeros. `mean_abs`, where not null,
 * receives the mean of |x| of each pixel. */
static void pack_signs(int32_t pixels, int32_t channels, const float *in, uint8_t *words, float *mean_abs) {
  int32_t p, c;
  for (p = 0; p < pixels; ++p, in += channels) {
    float sum = 0.0f;
    uint32_t word = 0;
    for (c = 0; c < channels; ++c) {
      if (in[c] >= 0.0f) word |= (uint32_t)1 << c % 32;
      sum += in[c] < 0.0f ? -in[c] : in[c];
      if (c % 32 == 31 || c + 1 == channels) {
        memcpy(words, &word, sizeof word);
        words += sizeof word;
        word = 0;
      }
    }
    if (mean_abs) mean_abs[p] = sum / (float)channels;
  }
}
