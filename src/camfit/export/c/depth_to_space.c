#include <stdint.h>

/* `block` pixels high and wide, `crop` pixels less at the top and left; `of` is the input's width. */
static void depth_to_space(int32_t height, int32_t width, int32_t channels, int32_t of, int32_t block_h,
    int32_t block_w, int32_t crop_top, int32_t crop_left, const float *in, float *out) {
  int32_t y, x, c;
  for (y = crop_top; y < crop_top + height; ++y)
    for (x = crop_left; x < crop_left + width; ++x) {
      const int32_t pixel = y / block_h * of + x / block_w, part = y % block_h * block_w + x % block_w;
      const float *from = in + (pixel * block_h * block_w + part) * channels;
      for (c = 0; c < channels; ++c) *out++ = from[c];
    }
}
