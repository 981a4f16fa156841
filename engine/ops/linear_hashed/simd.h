// Hashes a vector of a row's columns at a time. The row's word is mixed in once, as a scalar.
#pragma once
#include <string.h>

#include "../simd.h"
#include "xxh32.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

// Vectors of 32-bit words, as wide as Vec.
#if defined(__AVX512F__)
using Words = __m512i;
inline Words all(uint32_t value) { return _mm512_set1_epi32(int(value)); }
inline Words count_up() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
inline Words plus(Words a, Words b) { return _mm512_add_epi32(a, b); }
inline Words times(Words a, uint32_t factor) { return _mm512_mullo_epi32(a, all(factor)); }
inline Words rotate_17(Words a) { return _mm512_rol_epi32(a, 17); }
template <int n>
inline Words fold(Words a) {
  return _mm512_xor_si512(a, _mm512_srli_epi32(a, n));
}
inline Words high_product(Words a, Words b) {
  const Words even = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
  return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b));
}
inline Words sign_unless_odd(Words a) { return _mm512_slli_epi32(_mm512_xor_si512(a, all(1)), 31); }
#elif defined(__aarch64__)
struct Words {
  uint32x4_t low, high;
};
inline Words all(uint32_t value) { return {vdupq_n_u32(value), vdupq_n_u32(value)}; }
inline Words count_up() {
  const uint32x4_t low = vcombine_u32(vcreate_u32(uint64_t(1) << 32), vcreate_u32(uint64_t(3) << 32 | 2));
  return {low, vaddq_u32(low, vdupq_n_u32(4))};
}
inline Words plus(Words a, Words b) { return {vaddq_u32(a.low, b.low), vaddq_u32(a.high, b.high)}; }
inline Words times(Words a, uint32_t factor) { return {vmulq_n_u32(a.low, factor), vmulq_n_u32(a.high, factor)}; }
inline uint32x4_t rotate_17(uint32x4_t a) { return vsriq_n_u32(vshlq_n_u32(a, 17), a, 15); }
inline Words rotate_17(Words a) { return {rotate_17(a.low), rotate_17(a.high)}; }
template <int n>
inline Words fold(Words a) {
  return {veorq_u32(a.low, vshrq_n_u32(a.low, n)), veorq_u32(a.high, vshrq_n_u32(a.high, n))};
}
inline uint32x4_t high_product(uint32x4_t a, uint32x4_t b) {
  const uint64x2_t low = vmull_u32(vget_low_u32(a), vget_low_u32(b)), high = vmull_high_u32(a, b);
  return vuzp2q_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high));
}
inline Words high_product(Words a, Words b) { return {high_product(a.low, b.low), high_product(a.high, b.high)}; }
inline Words sign_unless_odd(Words a) {
  return {vshlq_n_u32(vmvnq_u32(a.low), 31), vshlq_n_u32(vmvnq_u32(a.high), 31)};
}
#else
using Words = __m256i;
inline Words all(uint32_t value) { return _mm256_set1_epi32(int(value)); }
inline Words count_up() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
inline Words plus(Words a, Words b) { return _mm256_add_epi32(a, b); }
inline Words times(Words a, uint32_t factor) { return _mm256_mullo_epi32(a, all(factor)); }
inline Words rotate_17(Words a) { return _mm256_or_si256(_mm256_slli_epi32(a, 17), _mm256_srli_epi32(a, 15)); }
template <int n>
inline Words fold(Words a) {
  return _mm256_xor_si256(a, _mm256_srli_epi32(a, n));
}
inline Words high_product(Words a, Words b) {
  const Words even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
  return _mm256_blend_epi32(even, _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b), 0xAA);
}
inline Words sign_unless_odd(Words a) { return _mm256_slli_epi32(_mm256_xor_si256(a, all(1)), 31); }
#endif

// Eight values whose signs turn where `minus` has its highest bit.
#if defined(__aarch64__)
inline float32x4_t flip(const float* values, const uint32_t* minus) {
  return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(vld1q_f32(values)), vld1q_u32(minus)));
}
inline Vec8 flip(const float (&values)[8], const uint32_t* minus) {
  return {flip(values + 0, minus), flip(values + 4, minus + 4)};
}
#else
inline Vec8 flip(const float (&v)[8], const uint32_t* minus) {
  const __m256 values = _mm256_setr_ps(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
  return _mm256_xor_ps(values, _mm256_loadu_ps(reinterpret_cast<const float*>(minus)));
}
#endif

// xxh32_finish(xxh32_mix(state, j)), given j * kXxhPrime3.
inline Words hash_of(Words state, Words product) {
  Words h = times(rotate_17(plus(state, product)), kXxhPrime4);
  h = times(fold<15>(h), kXxhPrime2);
  h = times(fold<13>(h), kXxhPrime3);
  return fold<16>(h);
}

// Yields the weights of one row, a vector of columns a call. `one`: bucket and sign are of one hash.
template <bool one>
class HashedRow {
 public:
  HashedRow(const HashedRows& weights, uint32_t row, uint32_t column)
      : buckets(all(weights.buckets)),
        index_state(all(xxh32_mix(xxh32_start(weights.seed), row))),
        sign_state(all(xxh32_mix(xxh32_start(weights.seed + 1), row))),
        product(times(plus(all(column), count_up()), kXxhPrime3)) {}

  void next(Words* index, Words* minus) {
    const Words hash = hash_of(index_state, product);
    *index = high_product(hash, buckets);
    *minus = sign_unless_odd(one ? hash : hash_of(sign_state, product));
    product = plus(product, all(Vec::kLanes * kXxhPrime3));
  }

 private:
  Words buckets, index_state, sign_state, product;
};

// Columns whose hashes are known. Their buckets are read while the next ones are hashed: one by one, as gathers take
// longer, even from the first-level cache (docs/engine.md).
template <bool one>
struct Pending {
  static constexpr int kColumns = (one ? 4 : 2) * Vec::kLanes;  // measured
  alignas(64) uint32_t index[kColumns], minus[kColumns];

  inline __attribute__((always_inline)) void fill(HashedRow<one>& row, int count) {
    for (int v = 0; v < count; v += Vec::kLanes) {
      Words at, signs;
      row.next(&at, &signs);
      memcpy(index + v, &at, sizeof at);
      memcpy(minus + v, &signs, sizeof signs);
    }
  }
  // Eight weights from column v on.
  Vec8 weights(const float* bucket, int v) const {
    float lanes[Vec8::kLanes];
    CAMFIT_UNROLL(8) for (int i = 0; i < Vec8::kLanes; ++i) lanes[i] = bucket[index[v + i]];
    return flip(lanes, minus + v);
  }
};

// Calls use(pending, first column, columns) for all columns of a row, hashes one step ahead. Whole steps call it with a
// constant, so that their loops need not count.
template <bool one, class Use>
void for_columns(const HashedRows& weights, uint32_t row, Range columns, const Use& use) {
  constexpr int kColumns = Pending<one>::kColumns;
  HashedRow<one> hashes(weights, row, uint32_t(columns.begin));
  Pending<one> pending[2];
  int now = 0, j = columns.begin;
  const auto fill = [&](Pending<one>& to, int left) {
    left >= kColumns ? to.fill(hashes, kColumns) : to.fill(hashes, left);
  };
  fill(pending[0], columns.end - j);
  for (; j + kColumns <= columns.end; j += kColumns, now ^= 1) {
    fill(pending[now ^ 1], columns.end - j - kColumns);
    use(pending[now], j, kColumns);
  }
  if (j < columns.end) use(pending[now], j, columns.end - j);
}

template <bool one>
float row_sum(const HashedRows& weights, uint32_t row, const float* in) {
  Vec8 sum = Vec8::zero();
  for_columns<one>(weights, row, {0, int(weights.columns)}, [&](const Pending<one>& pending, int j, int count) __attribute__((always_inline)) {
    for (int v = 0; v < count; v += Vec8::kLanes) {
      const bool whole = v + Vec8::kLanes <= count;
      const Vec8 x = whole ? Vec8::load(in + j + v) : Vec8::load(in + j + v, Vec8::mask(count - v));
      sum = fma(pending.weights(weights.bucket, v), x, sum);
    }
  });
  return sum_lanes(sum);
}

template <bool one>
void multiply_rows(const HashedRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row)
    out[row] = finish_one(row_sum<one>(weights, uint32_t(row), in), epilogue, row);
}

template <bool one>
void fill_row(const HashedRows& weights, uint32_t row, Range columns, float* out) {
  for_columns<one>(weights, row, columns, [&](const Pending<one>& pending, int j, int count) __attribute__((always_inline)) {
    float* to = out + (j - columns.begin);
    for (int v = 0; v < count; v += Vec8::kLanes) {
      const Vec8 found = pending.weights(weights.bucket, v);
      v + Vec8::kLanes <= count ? found.store(to + v) : found.store(to + v, Vec8::mask(count - v));
    }
  });
}

}  // namespace

void linear_hashed(const HashedRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  (weights.one_hash ? multiply_rows<true> : multiply_rows<false>)(weights, in, epilogue, out, rows);
}

void hashed_row(const HashedRows& weights, uint32_t row, Range columns, float* out) {
  (weights.one_hash ? fill_row<true> : fill_row<false>)(weights, row, columns, out);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
