#include <stdint.h>

/* Weight (i, j) is alpha[i] or -alpha[i]: bit i * columns + j of `signs`, the least significant of each byte first. */
typedef struct {
  const float *alpha;
  const uint8_t *signs;
  int32_t columns;
} sign_matrix;

static float sign_weight(const sign_matrix *m, int32_t row, int32_t column) {
  const int32_t bit = row * m->columns + column;
  return m->signs[bit / 8] >> bit % 8 & 1 ? m->alpha[row] : -m->alpha[row];
}
