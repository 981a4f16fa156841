#include <stdint.h>

#include "int8_add_products.c"
#include "int8_store.c"

/* Weights [block of outputs][input][output of the block]. */
static void int8_linear(int32_t inputs, int32_t outputs, const int8_t *weights, const int8_layer *l, const uint8_t *in,
                        uint8_t *out) {
  int32_t o, i, block;
  for (o = 0; o < outputs; o += block) {
    int32_t sum[INT8_BLOCK];
    block = outputs - o < INT8_BLOCK ? outputs - o : INT8_BLOCK;
    for (i = 0; i < INT8_BLOCK; ++i) sum[i] = i < block ? bias_of(l, o + i) : 0;
    int8_add_products(sum, block, inputs, l->in_zero, in, weights);
    weights += block * inputs;
    for (i = 0; i < block; ++i) int8_store(sum[i], l, o + i, out, o + i);
  }
}
