#include <stdint.h>

#include "exp.c"

static void softmax(int32_t count, const float *in, float *out) {
  float largest = in[0], sum = 0.0f;
  int32_t i;
  for (i = 1; i < count; ++i) largest = in[i] > largest ? in[i] : largest;
  for (i = 0; i < count; ++i) sum += out[i] = exp_of(in[i] - largest);
  for (i = 0; i < count; ++i) out[i] /= sum;
}
