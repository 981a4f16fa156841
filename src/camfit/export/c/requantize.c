#include <stdint.h>

/* Bytes q stand for scale * (q - zero). */
typedef struct {
  const int32_t *bias;       /* in steps of the sums; null: none */
  const int32_t *multiplier; /* null: the layer gives its sums as they are */
  const uint8_t *shift;
  int32_t in_zero;         /* of the input */
  int32_t zero, low, high; /* of the output, the activation in its bounds */
} int8_layer;

#if (-1 >> 1) != -1
#error "shifts of negative numbers must round down, as on all usual processors"
#endif

static int32_t requantize(int32_t sum, const int8_layer *l, int32_t channel) {
  const int64_t product = (int64_t)sum * l->multiplier[channel];
  const int32_t shift = l->shift[channel];
  const int32_t level = l->zero + (int32_t)((product + ((int64_t)1 << (shift - 1))) >> shift);
  return level < l->low ? l->low : level > l->high ? l->high : level;
}
