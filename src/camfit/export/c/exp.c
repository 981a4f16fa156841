#include <stdint.h>
#include <string.h>

/* e^x for x <= 0, as the engine has it (engine/ops/softmax/exp.h): x = n ln 2 + r, the Taylor series of e^r in double
 * precision, n put into the exponent, rounded once. */
static float exp_of(float x) {
  double scaled, r, y = 1.0 / 39916800, power;
  uint64_t bits;
  int32_t n;
  if (!(x >= -104.0f)) return x < 0.0f ? 0.0f : x;
  scaled = (double)x * 1.4426950408889634;
  n = (int32_t)(scaled - 0.5);
  r = (double)x - n * 0.6931471805599453;
  y = y * r + 1.0 / 3628800;
  y = y * r + 1.0 / 362880;
  y = y * r + 1.0 / 40320;
  y = y * r + 1.0 / 5040;
  y = y * r + 1.0 / 720;
  y = y * r + 1.0 / 120;
  y = y * r + 1.0 / 24;
  y = y * r + 1.0 / 6;
  y = y * r + 0.5;
  y = y * r + 1.0;
  y = y * r + 1.0;
  bits = (uint64_t)(1023 + n) << 52;
  memcpy(&power, &bits, sizeof power);
  return (float)(y * power);
}
