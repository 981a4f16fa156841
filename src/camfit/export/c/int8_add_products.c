#include <stdint.h>

/* As add_products: weights in blocks of INT8_BLOCK output channels, an input's weights side by side. */
enum { INT8_BLOCK = 4 };

static void int8_add_products(int32_t *sum, int32_t block, int32_t inputs, int32_t zero, const uint8_t *in,
                              const int8_t *weight) {
  int32_t i, o;
  if (block == INT8_BLOCK) {
    int32_t a = sum[0], b = sum[1], c = sum[2], d = sum[3];
    for (i = 0; i < inputs; ++i, weight += INT8_BLOCK) {
      const int32_t x = in[i] - zero;
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
      for (o = 0; o < block; ++o) sum[o] += (in[i] - zero) * *weight++;
  }
}
