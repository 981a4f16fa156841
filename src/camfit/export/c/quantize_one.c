#include <stdint.h>

/* clamp(floor(x * inverse + 0.5) + zero) without the C library's floor; a NaN gives 0. */
static uint8_t quantize_one(float x, float inverse, int32_t zero) {
  const float step = x * inverse + 0.5f;
  int32_t level;
  if (!(step > -256.0f)) return 0;
  if (step >= 256.0f) return 255;
  level = (int32_t)step;
  if ((float)level > step) --level;
  level += zero;
  return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}
