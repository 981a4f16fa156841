#include <stdint.h>

#include "finish.c"
#include "hashed_matrix.c"

static void linear_hashed(int32_t inputs, int32_t outputs, const hashed_matrix *weights, const epilogue *e,
                          const float *in, float *out) {
  int32_t o, i;
  for (o = 0; o < outputs; ++o) {
    float sum = 0.0f;
    for (i = 0; i < inputs; ++i) sum += in[i] * hashed_weight(weights, o, i);
    out[o] = finish(sum, e, o);
  }
}
