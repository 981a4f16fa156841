// e^x for x <= 0, the same bits on every machine: the C library's expf differs in the last bit from one to the next.
// src/camfit/export/c/exp.c is its twin for firmware.
#pragma once
#include <cstdint>
#include <cstring>

namespace camfit {
namespace {

// x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of e^r to r^11 (relative error below 2e-14) and n put into the
// exponent, all in double precision, then rounded once. Below -104 the result rounds to 0. NaN stays NaN.
inline float exp_of(float x) {
  if (!(x >= -104.0f)) return x < 0.0f ? 0.0f : x;
  const double scaled = double(x) * 1.4426950408889634;
  const int n = int(scaled - 0.5);  // towards 0: to nearest, as x <= 0
  const double r = double(x) - n * 0.6931471805599453;
  double y = 1.0 / 39916800;
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
  const uint64_t bits = uint64_t(1023 + n) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return float(y * power);
}

}  // namespace
}  // namespace camfit
