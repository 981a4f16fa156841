#include <stdint.h>

#include "add_products.c"
#include "finish.c"

/* Weights [block of outputs][input][output of the block]. */
static void linear(int32_t inputs, int32_t outputs, const float *weights, const epilogue *e, const float *in,
                   float *out) {
  int32_t o, i, block;
  for (o = 0; o < outputs; o += block) {
    float sum[BLOCK] = {0.0f, 0.0f, 0.0f, 0.0f};
    block = outputs - o < BLOCK ? outputs - o : BLOCK;
    add_products(sum, block, inputs, in, weights);
    weights += block * inputs;
    for (i = 0; i < block; ++i) out[o + i] = finish(sum[i], e, o + i);
  }
}
