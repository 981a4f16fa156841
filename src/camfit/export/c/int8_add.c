#include <stdint.h>

typedef struct {
  int32_t a_zero, b_zero, a_multiplier, b_multiplier, shift, zero, low, high;
} int8_sum;

static void int8_add(int32_t count, const int8_sum *s, const uint8_t *a, const uint8_t *b, uint8_t *out) {
  const int32_t half = (int32_t)1 << (s->shift - 1);
  int32_t i;
  for (i = 0; i < count; ++i) {
    const int32_t both = (a[i] - s->a_zero) * s->a_multiplier + (b[i] - s->b_zero) * s->b_multiplier;
    const int32_t level = s->zero + ((both + half) >> s->shift);
    out[i] = (uint8_t)(level < s->low ? s->low : level > s->high ? s->high : level);
  }
}
