#include <stdint.h>

static void global_avg_pool(int32_t pixels, int32_t channels, const float *in, float *out) {
  int32_t p, c;
  for (c = 0; c < channels; ++c) {
    float sum = 0.0f;
    for (p = 0; p < pixels; ++p) sum += in[p * channels + c];
    out[c] = sum / (float)pixels;
  }
}
