#include <stdint.h>

/* Dense weights stand in blocks of BLOCK output channels (of one group; the last block of a group may be narrower), an
 * input's weights side by side. So a block has as many sums in flight, each of which adds its products in order. */
enum { BLOCK = 4 };

static void add_products(float *sum, int32_t block, int32_t inputs, const float *in, const float *weight) {
  int32_t i, o;
  if (block == BLOCK) {
    float a = sum[0], b = sum[1], c = sum[2], d = sum[3];
    for (i = 0; i < inputs; ++i, weight += BLOCK) {
      const float x = in[i];
      a += x * weight[0];
      b += x * weight[1];
      c += x * weight[2];
      d += x * weight[3];
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
  } else {
    for (i = 0; i < inputs; ++i)
      for (o = 0; o < block; ++o) sum[o] += in[i] * *weight++;
  }
}
