#include <stdint.h>

/* y = activation(scale * sum + bias) per output channel. Vectors are float or binary16; where both are null, scale is 1
 * and bias 0. */
typedef struct {
  const float *scale;
  const uint16_t *scale_half;
  const float *bias;
  const uint16_t *bias_half;
  int32_t activation; /* 0 none, 1 ReLU, 2 ReLU6 */
} epilogue;
