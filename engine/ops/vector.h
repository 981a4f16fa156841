// Vectors of 8 floats (AVX2, NEON) and of 16 (AVX-512) behind one interface, and what kernels written for any of them
// share. Each op's simd.h is compiled once by its avx2.cpp, avx512.cpp and neon.cpp, into the namespace CAMFIT_SET; `Vec`
// is the widest vector there. Everything has internal linkage, and these files use no inline function of the standard
// library: the linker keeps one copy of those, and it must not be one that needs more than the processor has.
#pragma once
#include "kernels.h"
#include "window.h"

#if defined(__aarch64__)
#include "vec8_neon.h"
#else
#include <immintrin.h>
#endif

#define CAMFIT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CAMFIT_UNROLL(n) CAMFIT_PRAGMA(clang loop unroll_count(n))
#else
#define CAMFIT_UNROLL(n) CAMFIT_PRAGMA(GCC unroll n)
#endif

#if defined(__AVX512F__)
#define CAMFIT_SET avx512
#elif defined(__aarch64__)
#define CAMFIT_SET neon
#else
#define CAMFIT_SET avx2
#endif

namespace camfit {
namespace {

#if !defined(__aarch64__)
// max(a, b) and min(a, b) give b where either is not a number.
struct Vec8 {
  static constexpr int kLanes = 8;
#if defined(__AVX512F__)
  using Mask = __mmask8;
#else
  struct Mask {
    __m256i lanes;
    int count;
  };
#endif
  __m256 v;

  Vec8() = default;
  Vec8(__m256 value) : v(value) {}
  operator __m256() const { return v; }

  static Vec8 zero() { return _mm256_setzero_ps(); }
  static Vec8 all(float value) { return _mm256_set1_ps(value); }
  static Vec8 broadcast(const float* from) { return _mm256_broadcast_ss(from); }
  static Vec8 load(const float* from) { return _mm256_loadu_ps(from); }
  static Vec8 load(const int32_t* from) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static Vec8 load(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  void store(float* to) const { _mm256_storeu_ps(to, v); }

  // mask: the first `count` lanes; none where it is 0 or less, all where it is kLanes or more.
#if defined(__AVX512F__)
  static Vec8 load(const float* from, Mask mask) { return _mm256_maskz_loadu_ps(mask, from); }
  void store(float* to, Mask mask) const { _mm256_mask_storeu_ps(to, mask, v); }
  static Mask mask(int count) {
    return count >= kLanes ? Mask(0xFF) : count <= 0 ? Mask(0) : Mask((1u << count) - 1);
  }
#else
  static Vec8 load(const float* from, Mask mask) { return _mm256_maskload_ps(from, mask.lanes); }
  // In pieces: AMD's processors take 12 cycles for a store with a mask.
  void store(float* to, Mask mask) const {
    if (mask.count >= kLanes) return store(to);
    if (mask.count <= 0) return;
    __m128 rest = _mm256_castps256_ps128(v);
    if (mask.count & 4) {
      _mm_storeu_ps(to, rest);
      rest = _mm256_extractf128_ps(v, 1);
      to += 4;
    }
    if (mask.count & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(to), rest);
      rest = _mm_movehl_ps(rest, rest);
      to += 2;
    }
    if (mask.count & 1) _mm_store_ss(to, rest);
  }
  static Mask mask(int count) {
    return {_mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), count};
  }
#endif
};
inline Vec8 operator+(Vec8 a, Vec8 b) { return _mm256_add_ps(a.v, b.v); }
inline Vec8 operator-(Vec8 a, Vec8 b) { return _mm256_sub_ps(a.v, b.v); }
inline Vec8 operator*(Vec8 a, Vec8 b) { return _mm256_mul_ps(a.v, b.v); }
inline Vec8 operator/(Vec8 a, Vec8 b) { return _mm256_div_ps(a.v, b.v); }
inline Vec8 fma(Vec8 a, Vec8 b, Vec8 c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
inline Vec8 max(Vec8 a, Vec8 b) { return _mm256_max_ps(a.v, b.v); }
inline Vec8 min(Vec8 a, Vec8 b) { return _mm256_min_ps(a.v, b.v); }

inline float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float first_lane(__m256 v) { return _mm256_cvtss_f32(v); }
#endif

#if defined(__AVX512F__)
struct Vec16 {
  static constexpr int kLanes = 16;
  using Mask = __mmask16;
  __m512 v;

  Vec16() = default;
  Vec16(__m512 value) : v(value) {}
  operator __m512() const { return v; }

  static Vec16 zero() { return _mm512_setzero_ps(); }
  static Vec16 all(float value) { return _mm512_set1_ps(value); }
  static Vec16 broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Vec16 load(const float* from) { return _mm512_loadu_ps(from); }
  static Vec16 load(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  void store(float* to, Mask mask) const { _mm512_mask_storeu_ps(to, mask, v); }

  static Mask mask(int count) {
    return count >= kLanes ? Mask(0xFFFF) : count <= 0 ? Mask(0) : Mask((1u << count) - 1);
  }
};
inline Vec16 operator+(Vec16 a, Vec16 b) { return _mm512_add_ps(a.v, b.v); }
inline Vec16 operator-(Vec16 a, Vec16 b) { return _mm512_sub_ps(a.v, b.v); }
inline Vec16 operator*(Vec16 a, Vec16 b) { return _mm512_mul_ps(a.v, b.v); }
inline Vec16 operator/(Vec16 a, Vec16 b) { return _mm512_div_ps(a.v, b.v); }
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
inline Vec16 max(Vec16 a, Vec16 b) { return _mm512_max_ps(a.v, b.v); }
inline Vec16 min(Vec16 a, Vec16 b) { return _mm512_min_ps(a.v, b.v); }

inline float sum_lanes(__m512 v) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  return sum_lanes(_mm256_add_ps(_mm512_castps512_ps256(v), high));
}

using Vec = Vec16;
#else
using Vec = Vec8;
#endif

// An activation as limits. The operand order lets a NaN pass and keeps -0, as in plain.h.
template <typename V>
struct ClampOf {
  V low, high;
  explicit ClampOf(Activation activation)
      : low(V::all(activation == Activation::kNone ? -__builtin_inff() : 0.0f)),
        high(V::all(activation == Activation::kRelu6 ? 6.0f : __builtin_inff())) {}
  V operator()(V y) const { return min(high, max(low, y)); }
};

// The epilogue of a vector of channels from channel c on; of a tail, `mask` tells the real lanes.
template <typename V>
struct FinishOf {
  V scale = V::all(1.0f), bias = V::zero();
  ClampOf<V> clamp;
  FinishOf() : clamp(Activation::kNone) {}
  FinishOf(const Epilogue& epilogue, int c) : clamp(epilogue.activation) {
    if (epilogue.scale) scale = V::load(epilogue.scale + c);
    if (epilogue.bias) bias = V::load(epilogue.bias + c);
  }
  FinishOf(const Epilogue& epilogue, int c, typename V::Mask mask) : clamp(epilogue.activation) {
    if (epilogue.scale) scale = V::load(epilogue.scale + c, mask);
    if (epilogue.bias) bias = V::load(epilogue.bias + c, mask);
  }
  V operator()(V sum) const { return clamp(fma(scale, sum, bias)); }
};

// The epilogue of N neighbouring vectors of `count` channels from `first` on, and how to store its results.
template <typename V, int N>
struct ChannelFinish {
  typename V::Mask mask[N];
  FinishOf<V> lanes[N];
  bool full;
  ChannelFinish(const Epilogue& epilogue, int first, int count) : full(count >= N * V::kLanes) {
    for (int n = 0; n < N; ++n) {
      mask[n] = V::mask(count - n * V::kLanes);
      lanes[n] = FinishOf<V>(epilogue, first + n * V::kLanes, mask[n]);
    }
  }
  void store(float* to, int n, V sum) const {
    if (full)
      lanes[n](sum).store(to + n * V::kLanes);
    else
      lanes[n](sum).store(to + n * V::kLanes, mask[n]);
  }
};

// The same for one output value.
inline float finish_one(float sum, const Epilogue& epilogue, int channel) {
  const float scale = epilogue.scale ? epilogue.scale[channel] : 1.0f;
  const float bias = epilogue.bias ? epilogue.bias[channel] : 0.0f;
  return first_lane(ClampOf<Vec8>(epilogue.activation)(Vec8::all(scale * sum + bias)));
}

}  // namespace
}  // namespace camfit
