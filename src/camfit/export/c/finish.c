#include <stdint.h>

#include "activate.c"
#include "epilogue.h"
#include "vector_at.c"

static float finish(float sum, const epilogue *e, int32_t channel) {
  const float scale = vector_at(e->scale, e->scale_half, channel, 1.0f);
  const float bias = vector_at(e->bias, e->bias_half, channel, 0.0f);
  return activate(scale * sum + bias, e->activation);
}
