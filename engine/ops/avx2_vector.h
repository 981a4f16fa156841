// Names for the kernels that are written for AVX2 alone.
#pragma once
#include "avx2.h"
#include "vector.h"

namespace camfit {
namespace {

constexpr int kLanes = 8;

inline __m256i lane_mask(int count) { return Vec8::mask(count); }
inline float first_lane(__m256 v) { return _mm256_cvtss_f32(v); }
using Clamp = ClampOf<Vec8>;

}  // namespace
}  // namespace camfit
