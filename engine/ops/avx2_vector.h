// Small pieces shared by the AVX2 kernels. Everything has internal linkage, and these files use no inline function of
// the standard library: the linker keeps one copy of those, and it must not be one that needs AVX2.
#pragma once
#include <immintrin.h>

#include "avx2.h"
#include "window.h"

#define CAMFIT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CAMFIT_UNROLL(n) CAMFIT_PRAGMA(clang loop unroll_count(n))
#else
#define CAMFIT_UNROLL(n) CAMFIT_PRAGMA(GCC unroll n)
#endif

namespace camfit {
namespace {

constexpr int kLanes = 8;

// All ones in the first `count` (0..8) lanes.
inline __m256i lane_mask(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// An activation as limits. The operand order lets a NaN pass and keeps -0, as in plain.h.
struct Clamp {
  __m256 low, high;
  explicit Clamp(Activation activation)
      : low(_mm256_set1_ps(activation == Activation::kNone ? -__builtin_inff() : 0.0f)),
        high(_mm256_set1_ps(activation == Activation::kRelu6 ? 6.0f : __builtin_inff())) {}
  __m256 operator()(__m256 y) const { return _mm256_min_ps(high, _mm256_max_ps(low, y)); }
};

inline float first_lane(__m256 v) { return _mm256_cvtss_f32(v); }

inline float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// The epilogue of eight channels from channel c on; of a tail, `mask` tells the real lanes.
struct LaneFinish {
  __m256 scale = _mm256_set1_ps(1.0f), bias = _mm256_setzero_ps();
  Clamp clamp;
  LaneFinish(const Epilogue& epilogue, int c) : clamp(epilogue.activation) {
    if (epilogue.scale) scale = _mm256_loadu_ps(epilogue.scale + c);
    if (epilogue.bias) bias = _mm256_loadu_ps(epilogue.bias + c);
  }
  LaneFinish(const Epilogue& epilogue, int c, __m256i mask) : clamp(epilogue.activation) {
    if (epilogue.scale) scale = _mm256_maskload_ps(epilogue.scale + c, mask);
    if (epilogue.bias) bias = _mm256_maskload_ps(epilogue.bias + c, mask);
  }
  __m256 operator()(__m256 sum) const { return clamp(_mm256_fmadd_ps(scale, sum, bias)); }
};

// The epilogue of one panel, and how to store its results.
struct PanelFinish {
  __m256i mask[2];
  LaneFinish lanes[2];
  bool full;
  PanelFinish(const Epilogue& epilogue, PanelPlace place)
      : mask{lane_mask(place.count), lane_mask(place.count - kLanes)},
        lanes{{epilogue, place.first, mask[0]}, {epilogue, place.first + kLanes, mask[1]}},
        full(place.count == kPanel) {}
  void store(float* to, int v, __m256 sum) const {
    if (full)
      _mm256_storeu_ps(to + v * kLanes, lanes[v](sum));
    else
      _mm256_maskstore_ps(to + v * kLanes, mask[v], lanes[v](sum));
  }
};

// The same for one output value.
inline float finish_one(float sum, const Epilogue& epilogue, int channel) {
  const float scale = epilogue.scale ? epilogue.scale[channel] : 1.0f;
  const float bias = epilogue.bias ? epilogue.bias[channel] : 0.0f;
  return first_lane(Clamp(epilogue.activation)(_mm256_set1_ps(scale * sum + bias)));
}

}  // namespace
}  // namespace camfit
