#include <stdint.h>

static float activate(float y, int32_t kind) {
  if (kind == 0) return y;
  y = y < 0.0f ? 0.0f : y;
  return kind == 2 && y > 6.0f ? 6.0f : y;
}
