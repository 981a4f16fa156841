#include <stdint.h>

#include "activate.c"

static void add(int32_t count, int32_t kind, const float *a, const float *b, float *out) {
  int32_t i;
  for (i = 0; i < count; ++i) out[i] = activate(a[i] + b[i], kind);
}
