#include <stdint.h>

#include "range.h"

/* The outputs along one axis that a tap reads real pixels for: output i reads input i * stride + origin. */
static range output_range(int32_t origin, int32_t stride, int32_t in, int32_t out) {
  range r = {0, 0};
  if (origin < 0) r.first = (-origin + stride - 1) / stride;
  if (origin < in) r.last = (in - 1 - origin) / stride + 1;
  if (r.last > out) r.last = out;
  return r;
}
