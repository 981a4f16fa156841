#include <stdint.h>
#include <string.h>

/* a * b + c rounded once, as C's fmaf, without its library. The product of two floats is exact in double. The sum is
 * rounded to odd there, so that rounding it to float is as if from the exact sum (Boldo and Melquiond, 2008). */
static float fused(float a, float b, float c) {
  const double product = (double)a * b, sum = product + c;
  const double back = sum - product, error = (product - (sum - back)) + (c - back);
  uint64_t bits;
  double odd;
  memcpy(&bits, &sum, sizeof bits);
  if ((bits & 1) == 0 && (error > 0.0 || error < 0.0)) bits += (error > 0.0) == (sum > 0.0) ? 1u : UINT64_MAX;
  memcpy(&odd, &bits, sizeof odd);
  return (float)odd;
}
