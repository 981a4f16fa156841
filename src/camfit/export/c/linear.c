#include <stdint.h>

#include "finish.c"

/* Weights [output][input]. */
static void linear(int32_t inputs, int32_t outputs, const float *weights, const epilogue *e, const float *in,
                   float *out) {
  int32_t o, i;
  for (o = 0; o < outputs; ++o) {
    float sum = 0.0f;
    for (i = 0; i < inputs; ++i) sum += in[i] * *weights++;
    out[o] = finish(sum, e, o);
  }
}
