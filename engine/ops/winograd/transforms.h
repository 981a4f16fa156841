// One-dimensional transforms of Winograd's convolution over vectors of channels. See winograd.h for the points.
#pragma once
#include "../vector.h"

namespace camfit {
namespace {

constexpr float kRootHalf = 0.70710678f, kRootTwo = 1.41421356f;

// A inputs to the values at A points.
template <typename V>
inline __attribute__((always_inline)) void transform_input(const V (&d)[4], V (&to)[4]) {
  to[0] = d[0] - d[2];
  to[1] = d[2] + d[1];
  to[2] = d[2] - d[1];
  to[3] = d[3] - d[1];
}
template <typename V>
inline __attribute__((always_inline)) void transform_input(const V (&d)[6], V (&to)[6]) {
  const V half = V::all(-0.5f), two = V::all(-2.0f), both = V::all(-2.5f);
  const V a = V::all(kRootHalf), b = V::all(kRootTwo);
  const V even_a = fma(two, d[2], d[4]), odd_a = a * fma(two, d[1], d[3]);
  const V even_b = fma(half, d[2], d[4]), odd_b = b * fma(half, d[1], d[3]);
  to[0] = fma(both, d[2], d[0] + d[4]);
  to[1] = even_a + odd_a;
  to[2] = even_a - odd_a;
  to[3] = even_b + odd_b;
  to[4] = even_b - odd_b;
  to[5] = fma(both, d[3], d[1] + d[5]);
}

// Products at the points to outputs.
template <typename V>
inline __attribute__((always_inline)) void transform_output(const V (&m)[4], V (&to)[2]) {
  to[0] = m[0] + (m[1] + m[2]);
  to[1] = (m[1] - m[2]) + m[3];
}
template <typename V>
inline __attribute__((always_inline)) void transform_output(const V (&m)[6], V (&to)[2]) {
  to[0] = m[0] + ((m[1] + m[2]) + (m[3] + m[4]));
  to[1] = fma(V::all(kRootTwo), m[3] - m[4], fma(V::all(kRootHalf), m[1] - m[2], m[5]));
}
template <typename V>
inline __attribute__((always_inline)) void transform_output(const V (&m)[6], V (&to)[4]) {
  const V even_a = m[1] + m[2], even_b = m[3] + m[4];
  const V odd_a = V::all(kRootHalf) * (m[1] - m[2]), odd_b = V::all(kRootTwo) * (m[3] - m[4]);
  const V half = V::all(0.5f), two = V::all(2.0f);
  to[0] = m[0] + (even_a + even_b);
  to[1] = odd_a + odd_b;
  to[2] = fma(two, even_b, half * even_a);
  to[3] = fma(two, odd_b, fma(half, odd_a, m[5]));
}

}  // namespace
}  // namespace camfit
