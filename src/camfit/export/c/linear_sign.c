#include <stdint.h>

#include "finish.c"
#include "sign_matrix.c"

static void linear_sign(int32_t outputs, const sign_matrix *weights, const epilogue *e, const float *in, float *out) {
  int32_t o, i;
  for (o = 0; o < outputs; ++o) {
    float sum = 0.0f;
    for (i = 0; i < weights->columns; ++i) sum += in[i] * sign_weight(weights, o, i);
    out[o] = finish(sum, e, o);
  }
}
