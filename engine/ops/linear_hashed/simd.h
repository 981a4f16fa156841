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
inline Vec gather(const float* from, Words index) { return _mm512_i32gather_ps(index, from, 4); }
inline Vec flip(Vec a, Words signs) {
  return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a.v), signs));
}
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
inline Vec gather(const float* from, Words index) {
  uint32_t at[Vec::kLanes];
  float lanes[Vec::kLanes];
  vst1q_u32(at, index.low);
  vst1q_u32(at + 4, index.high);
  CAMFIT_UNROLL(8) for (int i = 0; i < Vec::kLanes; ++i) lanes[i] = from[at[i]];
  return Vec::load(lanes);
}
inline float32x4_t flip(float32x4_t a, uint32x4_t signs) {
  return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), signs));
}
inline Vec flip(Vec a, Words signs) { return {flip(a.low, signs.low), flip(a.high, signs.high)}; }
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
inline Vec gather(const float* from, Words index) { return _mm256_i32gather_ps(from, index, 4); }
inline Vec flip(Vec a, Words signs) { return _mm256_xor_ps(a, _mm256_castsi256_ps(signs)); }
#endif

// xxh32_finish(xxh32_mix(state, j)), given j * kXxhPrime3.
inline Words hash_of(Words state, Words product) {
  Words h = times(rotate_17(plus(state, product)), kXxhPrime4);
  h = times(fold<15>(h), kXxhPrime2);
  h = times(fold<13>(h), kXxhPrime3);
  return fold<16>(h);
}

// Yields the weights of one row, a vector of columns a call.
class HashedRow {
 public:
  HashedRow(const HashedRows& weights, uint32_t row, uint32_t column)
      : bucket(weights.bucket),
        buckets(all(weights.buckets)),
        index_state(all(xxh32_mix(xxh32_start(weights.seed), row))),
        sign_state(all(xxh32_mix(xxh32_start(weights.seed + 1), row))),
        product(times(plus(all(column), count_up()), kXxhPrime3)) {}

  void next(Words* index, Words* minus) {
    *index = high_product(hash_of(index_state, product), buckets);
    *minus = sign_unless_odd(hash_of(sign_state, product));
    product = plus(product, all(Vec::kLanes * kXxhPrime3));
  }
  Vec next() {
    Words index, minus;
    next(&index, &minus);
    return flip(gather(bucket, index), minus);
  }

 private:
  const float* bucket;
  Words buckets, index_state, sign_state, product;
};

#if !defined(__AVX512F__)
constexpr int kColumns = 16, kVectors = kColumns / Vec::kLanes;
constexpr uint32_t kNearBuckets = 16 << 10;  // that the caches nearby hold

// kColumns columns whose hashes are known and whose buckets are on their way to the first-level cache.
struct Pending {
  alignas(64) uint32_t index[kColumns];
  Vec x[kVectors];  // inputs with the weights' signs

  void fill(HashedRow& row, const float* bucket, const float* in, int left) {
    for (int v = 0; v < kVectors; ++v, in += Vec::kLanes, left -= Vec::kLanes) {
      Words at, minus;
      row.next(&at, &minus);
      memcpy(index + v * Vec::kLanes, &at, sizeof at);
      x[v] = flip(left >= Vec::kLanes ? Vec::load(in) : Vec::load(in, Vec::mask(left)), minus);
    }
    for (int i = 0; i < kColumns; ++i) _mm_prefetch(reinterpret_cast<const char*>(bucket + index[i]), _MM_HINT_T0);
  }
  void add_to(Vec (&sum)[kVectors], const float* bucket) const {
    for (int v = 0; v < kVectors; ++v) {
      const uint32_t* at = index + v * Vec::kLanes;
      const __m128 low = _mm_setr_ps(bucket[at[0]], bucket[at[1]], bucket[at[2]], bucket[at[3]]);
      const __m128 high = _mm_setr_ps(bucket[at[4]], bucket[at[5]], bucket[at[6]], bucket[at[7]]);
      sum[v] = fma(Vec(_mm256_set_m128(high, low)), x[v], sum[v]);
    }
  }
};

// Hashes one step ahead of the buckets that they name: those of the next columns come while these are multiplied.
float row_ahead(const HashedRows& weights, uint32_t row, const float* in) {
  const int columns = int(weights.columns);
  HashedRow values(weights, row, 0);
  Vec sum[kVectors] = {Vec::zero(), Vec::zero()};
  Pending pending[2];
  pending[0].fill(values, weights.bucket, in, columns);
  int now = 0;
  for (int j = kColumns; j < columns; j += kColumns, now ^= 1) {
    pending[now ^ 1].fill(values, weights.bucket, in + j, columns - j);
    pending[now].add_to(sum, weights.bucket);
  }
  pending[now].add_to(sum, weights.bucket);
  return sum_lanes(sum[0] + sum[1]);
}
#endif

float row_near(const HashedRows& weights, uint32_t row, const float* in) {
  const int columns = int(weights.columns);
  HashedRow values(weights, row, 0);
  Vec sum = Vec::zero();
  int j = 0;
  for (; j + Vec::kLanes <= columns; j += Vec::kLanes) sum = fma(values.next(), Vec::load(in + j), sum);
  if (j < columns) sum = fma(values.next(), Vec::load(in + j, Vec::mask(columns - j)), sum);
  return sum_lanes(sum);
}

}  // namespace

// Measured: AVX-512's gathers overlap with the hashes on their own account, and so do AVX2's while buckets are near.
void linear_hashed(const HashedRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
#if defined(__AVX512F__)
    const float sum = row_near(weights, uint32_t(row), in);
#else
    const bool near = weights.buckets <= kNearBuckets;
    const float sum = near ? row_near(weights, uint32_t(row), in) : row_ahead(weights, uint32_t(row), in);
#endif
    out[row] = finish_one(sum, epilogue, row);
  }
}

void hashed_row(const HashedRows& weights, uint32_t row, Range columns, float* out) {
  HashedRow values(weights, row, uint32_t(columns.begin));
  int left = columns.end - columns.begin;
  for (; left >= Vec::kLanes; left -= Vec::kLanes, out += Vec::kLanes) values.next().store(out);
  if (left > 0) values.next().store(out, Vec::mask(left));
}

}  // namespace CAMFIT_SET
}  // namespace camfit
